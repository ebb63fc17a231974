"""Every stepper, at its usual number of steps, draws from a mixture: weights, means, spread, shape.

Two stages: 8,192 draws at a false-alarm rate of 1e-2 per case; only on failure 32,768 fresh draws
at 5e-5. Both stages must fail, so all 85 cases together alarm falsely less than once in 20,000
runs. The first stage catches a weight off by 0.04, or the largest mode's variance off by 0.1,
beyond the stated discretisation error, with probability 0.999; spreads to a fraction of a percent
are the matter of the exact laws on Gaussians.
"""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from usual import PATHS, USUAL, Row, any_path, usual_times

from gen_jax import diffusion, paths
from gen_jax.metrics import sliced_wasserstein
from gen_jax.randomness import sample_keys

pytestmark = pytest.mark.usefixtures("optimized")

N, BLOCK = 8192, 2048
MIXTURE = exact.mixture_separated()
STDS = np.array([0.25, 0.2, 0.15])
STAGES = ((1, 1e-2), (4, 5e-5))  # sets of N draws, false-alarm rate


def sampler(name):
    """`(key, index of the path) -> x [N, 2]`, compiled once."""
    stepper = diffusion.STEPPERS[name]()

    def draw(key, index):
        path = any_path(index)
        times = usual_times(name, path)
        denoise = diffusion.mixture_denoiser(*MIXTURE, path)
        keys = sample_keys(key, N)
        x = diffusion.prior(keys, path, (N, 2))
        return diffusion.sample(jax.random.fold_in(key, N), denoise, path, x, times, stepper)

    return jax.jit(draw)


def deviations(x, row):
    """What is left of each statistic's error beyond the stated one, in standard errors [3, 3].

    Rows: the modes' weights, means (the worse coordinate) and variances.
    """
    distance = np.linalg.norm(x[:, None] - MIXTURE.means[None], axis=-1) / STDS
    mode = distance.argmin(1)
    rows = []
    for k, weight in enumerate(np.asarray(MIXTURE.weights)):
        z = (x[mode == k] - np.asarray(MIXTURE.means[k])) / STDS[k]
        n = len(z)
        share = (n / len(x) - weight) / np.sqrt(weight * (1 - weight) / len(x))
        allowed = row.weight / np.sqrt(weight * (1 - weight) / len(x))
        mean = np.abs(z.mean(0)).max() - row.mean
        variance = abs((z**2).mean() - 1) - row.variance
        rows.append([abs(share) - allowed, mean * np.sqrt(n), variance * np.sqrt(n)])
    return np.array(rows).T


def sliced(key, x, y):
    """Mean sliced Wasserstein distance of blocks of 2,048 points."""
    blocks = zip(x.reshape(-1, BLOCK, 2), y.reshape(-1, BLOCK, 2))
    return np.mean([float(sliced_wasserstein(key, a, b, 32)) for a, b in blocks])


@pytest.fixture(scope="module")
def between_exact_sets():
    """The same distance between two exact sets, averaged over 48 pairs."""
    a, b = (exact.mixture_sample(jax.random.key(i), MIXTURE, 48 * BLOCK) for i in (100, 101))
    return sliced(jax.random.key(5), a, b)


def matches(draw, index, key, row, baseline):
    """Whether some stage finds the draws to be the mixture's."""
    for stage, (sets, alarm) in enumerate(STAGES):
        keys = [jax.random.fold_in(key, 10 * stage + i) for i in range(sets)]
        x = np.concatenate([draw(k, index) for k in keys])
        assert np.isfinite(x).all()
        z = stats.norm.isf(alarm / 24)  # two sides, 3 modes, 4 statistics
        ratio = sliced(key, x, exact.mixture_sample(keys[-1], MIXTURE, len(x))) / baseline
        if (deviations(x, row) < z).all() and ratio < 1.5:
            return True
    return False


@pytest.mark.parametrize("name", sorted(set(USUAL) - {"backward_posterior"}))
def test_samples_match_the_mixture(key, name, between_exact_sets):
    draw = sampler(name)
    for index, path in enumerate(PATHS):
        own = jax.random.fold_in(key, index)
        assert matches(draw, index, own, USUAL[name], between_exact_sets), path


@pytest.mark.parametrize("name", ["midpoint", "heun", "rk4", "adams"])
def test_forty_calls_keep_the_variance_inside_narrow_modes(key, name):
    """The last step carries the velocity through to t = 0: the denoised point would halve it."""
    path, stepper = paths.linear(), diffusion.STEPPERS[name]()
    stds = jnp.array([0.12, 0.08, 0.1])
    mixture = MIXTURE._replace(covariances=stds[:, None, None] ** 2 * jnp.eye(2))
    denoise, x = diffusion.mixture_denoiser(*mixture, path), jax.random.normal(key, (N, 2))
    per_step = {"rk4": 4, "adams": 1}.get(name, 2)
    times = diffusion.GRIDS[stepper.grid](path, 40 // per_step)
    run = jax.jit(lambda x: diffusion.sample_with_info(key, denoise, path, x, times, stepper))
    end, info = run(x)
    assert int(info.calls) == 40
    gap = end[:, None] - mixture.means
    mode = jnp.argmin(jnp.linalg.norm(gap, axis=-1), axis=1)
    z = jnp.take_along_axis(gap, mode[:, None, None], axis=1)[:, 0] / stds[mode][:, None]
    variance = [float((z[mode == k] ** 2).mean()) for k in range(3)]
    # A mode of 1,600 points in the plane: a standard error of 2.5 %.
    np.testing.assert_allclose(variance, 1, atol=0.1)


def test_two_names_of_one_sampler_draw_the_same(key):
    x = jax.random.normal(key, (4, 2))
    path = any_path(2)
    denoise = diffusion.mixture_denoiser(*MIXTURE, path)
    times = usual_times("ddpm", path, 8)
    run = lambda name: diffusion.sample(key, denoise, path, x, times, diffusion.STEPPERS[name]())
    np.testing.assert_array_equal(run("ddpm"), run("backward_posterior"))


@pytest.mark.parametrize("bug", ["none", "weights", "spread", "reused key"])
def test_planted_bugs_are_caught(key, bug, between_exact_sets):
    def draw(key, index):
        mixture = MIXTURE
        if bug == "weights":
            mixture = mixture._replace(weights=jnp.array([0.58, 0.22, 0.2]))
        if bug == "spread":
            mixture = mixture._replace(covariances=1.2 * mixture.covariances)
        x = exact.mixture_sample(key, mixture, N)
        return jnp.tile(x[: N // 16], (16, 1)) if bug == "reused key" else x

    assert matches(draw, 0, key, Row(0, 0.0), between_exact_sets) == (bug == "none")
