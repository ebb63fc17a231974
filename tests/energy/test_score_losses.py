"""Score-matching losses: the true score is their minimum, and they differ from Fisher's divergence
by the known constant; densities by quadrature, float64."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import energy
from gen_jax.energy import SCORE_LOSSES
from gen_jax.errors import ConfigError

Z_MAX = 5.03  # two-sided 5e-7
LAW = exact.mixture_2d


def true_score(x, noise=0.0):
    return jax.vmap(lambda x: exact.mixture_score(LAW(), 1.0, noise, x))(x)


def bent(x):
    """A field that is no gradient of anything simple."""
    return jnp.stack([jnp.sin(x[:, 1]) + 0.3 * x[:, 0], jnp.cos(x[:, 0]) * x[:, 1]], 1)


@pytest.fixture(scope="module")
def nodes():
    """Points [N, 2] and their probabilities [N] on a grid that holds the mixture."""
    with jax.enable_x64(True):
        line = jnp.linspace(-5, 5, 121)
        points = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
        log_p = jax.vmap(lambda x: exact.mixture_log_density(LAW(), 1.0, 0.0, x))(points)
        weights = np.exp(log_p) * float(line[1] - line[0]) ** 2
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    return points, weights


def shifted(amount):
    return lambda x: true_score(x) + amount * bent(x)


@pytest.mark.parametrize("amount", [0.0, 0.4, -0.3])
def test_implicit_is_explicit_up_to_its_constant(x64, nodes, key, amount):
    """hyvarinen2005, theorem 1; without the factor 1/2 (planted) it fails."""
    x, weights = nodes
    wanted = weights @ np.asarray(energy.explicit(shifted(amount), true_score, x))
    constant = 0.5 * weights @ np.sum(np.asarray(true_score(x)) ** 2, 1)
    found = weights @ np.asarray(energy.implicit(key, shifted(amount), x))
    assert found + constant == pytest.approx(wanted, abs=1e-6)
    planted = found + 0.5 * weights @ np.sum(np.asarray(shifted(amount)(x)) ** 2, 1)
    assert abs(planted + constant - wanted) > 0.1


@pytest.mark.parametrize("name", sorted(set(SCORE_LOSSES) - {"implicit", "denoising"}))
def test_random_directions_have_the_mean_of_implicit(x64, nodes, key, name):
    x, weights = nodes
    key_rows, key_loss = jax.random.split(key)
    rows = jax.random.choice(key_rows, len(x), (10_000,), p=jnp.asarray(weights / weights.sum()))
    x, score = x[rows], shifted(0.3)
    difference = SCORE_LOSSES[name](key_loss, score, x) - energy.implicit(key, score, x)
    z = difference.mean() / difference.std() * np.sqrt(len(x))
    assert abs(z) < Z_MAX
    biased = difference + 0.1 * jnp.sum(score(x) ** 2, 1)  # planted: a norm 20 % too large
    assert abs(biased.mean() / biased.std() * np.sqrt(len(x))) > Z_MAX


def test_denoising_is_explicit_for_the_noisy_data(x64, key):
    """For p with noise 0.5, up to D / (2 noise^2) - E|s|^2 / 2; not for p itself."""
    noise, n = 0.5, 10_000
    key_data, key_noise, key_loss = jax.random.split(key, 3)
    x = exact.mixture_sample(key_data, LAW(), n)
    noisy = x + noise * jax.random.normal(key_noise, x.shape)
    field = lambda x: true_score(x, noise) + 0.4 * bent(x)
    loss = energy.denoising(key_loss, field, x, noise=noise)

    def z(law_noise):
        score = lambda x: true_score(x, law_noise)
        fisher = energy.explicit(field, score, noisy)
        other = loss - 1 / noise**2 + 0.5 * jnp.sum(score(noisy) ** 2, 1)
        error = jnp.sqrt((other.var() + fisher.var()) / n)
        return float((other.mean() - fisher.mean()) / error)

    assert abs(z(noise)) < Z_MAX
    assert abs(z(0.0)) > Z_MAX


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_the_true_score_is_the_minimum(x64, key, name):
    """Gaussian data N(0.5, 0.8): in the mean, the gradient is 0 at the truth (with the noise of
    "denoising" added) and not at a variance 30 % larger."""
    n, variance, loss = 10_000, 0.8, SCORE_LOSSES[name]
    if name == "denoising":
        loss = partial(energy.denoising, noise=0.6)
    x = 0.5 + np.sqrt(variance) * jax.random.normal(key, (n, 1))
    truth = variance + (0.6**2 if name == "denoising" else 0.0)

    def scores(mean, var):
        score = lambda p: lambda x: -(x - p[0]) / p[1]
        one = lambda p: loss(jax.random.fold_in(key, 1), score(p), x)
        gradient = jax.jacfwd(one)(jnp.array([mean, var]))
        return np.abs(gradient.mean(0)) / gradient.std(0) * np.sqrt(n)

    assert scores(0.5, truth).max() < Z_MAX
    assert scores(0.5, 1.3 * truth)[1] > Z_MAX
    assert scores(0.7, truth)[0] > Z_MAX


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_examples_stay_apart_in_any_shape(name, count_traces):
    """One number per example, whatever its batch; traced once."""
    x = jax.random.normal(jax.random.key(1), (3, 2, 2, 1))
    keys = jax.random.split(jax.random.key(2), 3)
    score = lambda x: -jnp.sin(x) * x.sum((1, 2, 3), keepdims=True)
    counted = count_traces(lambda keys, x: SCORE_LOSSES[name](keys, score, x))
    compiled = jax.jit(counted)
    whole = compiled(keys, x)
    compiled(keys, x + 1)
    assert counted.calls == 1
    assert whole.shape == (3,)
    alone = SCORE_LOSSES[name](keys[1:2], score, x[1:2])
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-5)


def test_more_projections_are_less_noise(key):
    x = jax.random.normal(key, (2000, 3))
    spread = [energy.sliced(key, lambda x: -x, x, projections=m).std() for m in (1, 32)]
    assert spread[1] < 0.7 * spread[0]
    with pytest.raises(ConfigError, match="projections=0"):
        energy.sliced(key, lambda x: x, x, projections=0)
    with pytest.raises(ConfigError, match="noise=0"):
        energy.denoising(key, lambda x: x, x, noise=0)
