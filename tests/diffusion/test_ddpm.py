"""DDPM's discrete loss and its variational bound, against Gaussian closed forms in float64."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax import diffusion, paths
from gen_jax.diffusion.ddpm import ddpm_loss, reconstruction_term
from gen_jax.errors import ConfigError

STD = 0.6


def test_the_bound_is_of_times_that_rise_to_one(key):
    path, denoise = paths.cosine(), lambda x, t: x
    for times, message in (
        ([1.0, 0.5, 0.1], "times must rise"),
        ([0.1, 0.5, 0.9], "times end at 0.9"),
        ([1.0], "times must have shape"),
    ):
        with pytest.raises(ConfigError, match=message):
            diffusion.variational_bound(
                key, denoise, path, jnp.zeros((2, 1)), times=jnp.array(times), bin_width=None
            )


def expected_inner_terms(path, times):
    """sum (SNR_s - SNR_t) Var[x0 | x_t] / 2 for x0 ~ N(0, STD^2), from the posterior variance."""
    snr = (np.asarray(path.alpha(times) / path.sigma(times))) ** 2
    return 0.5 * np.sum((snr[:-1] - snr[1:]) / (1 / STD**2 + snr[1:]))


@pytest.mark.parametrize("grid", ["uniform", "log_snr"])
@pytest.mark.parametrize("name", ["linear", "vp", "ve"])
def test_the_bound_of_a_gaussian(x64, key, name, grid):
    """In the mean never below the exact value, and on a log-SNR grid at it with many steps."""
    path = paths.PATHS[name]()
    x0 = STD * jax.random.normal(key, (2000, 1))
    denoise = exact.gaussian_denoiser(0.0, STD, path)
    nll = -stats.norm.logpdf(np.asarray(x0[:, 0]), scale=STD)
    run = lambda times, x0: diffusion.variational_bound(
        key, denoise, path, x0, times=times, bin_width=None
    )
    losses = []
    for num_steps in (64, 512):
        if grid == "uniform":
            times = jnp.arange(1, num_steps + 1) / num_steps
        else:
            times = diffusion.GRIDS[grid](path, num_steps)[-2::-1]
        terms = jax.jit(run)(times, x0)
        inner = np.asarray(terms["diffusion"])
        error = inner.std() / np.sqrt(len(inner))
        assert abs(inner.mean() - expected_inner_terms(path, times)) < 5.1 * error  # 5e-7
        gap = np.asarray(sum(terms.values())) - nll
        noise = 5.1 * gap.std() / np.sqrt(len(gap))
        assert gap.mean() > -noise
        # The same in closed form: what the steps lose, the posterior variance being known.
        snr = np.asarray(path.alpha(times) / path.sigma(times)) ** 2
        inner = expected_inner_terms(path, times)
        lost = inner - 0.5 * np.log((1 / STD**2 + snr[0]) / (1 / STD**2 + snr[-1]))
        assert lost > 0
        assert abs(gap.mean() - lost) < noise + 0.02
        losses.append(lost)
    if grid == "log_snr" or name == "ve":
        assert abs(np.log2(losses[0] / losses[1]) / 3 - 1) < 0.25  # first order
    else:
        assert losses[1] > 0.2  # it never vanishes: hence `times`


def test_the_usual_grid_is_uniform(x64, key):
    path = paths.vp()
    denoise = exact.gaussian_denoiser(0.0, STD, path)
    x0 = jax.random.normal(key, (3, 2))
    usual = diffusion.variational_bound(key, denoise, path, x0, num_steps=10)
    times = jnp.arange(1, 11) / 10
    other = diffusion.variational_bound(key, denoise, path, x0, times=times)
    jax.tree.map(np.testing.assert_array_equal, usual, other)


def test_prior_term_is_the_divergence_of_two_gaussians(x64, key):
    x0 = jnp.array([[0.5, -1.0], [2.0, 0.0]])
    for path in (paths.vp(), paths.linear(), paths.ve(), paths.ve(0.1, 2.0)):
        denoise = exact.gaussian_denoiser(0.0, 1.0, path)
        found = diffusion.variational_bound(key, denoise, path, x0, num_steps=2)["prior"]
        a, s = float(path.alpha(jnp.array(1.0))), float(path.sigma(jnp.array(1.0)))
        grid = np.linspace(-12 * s, 12 * s, 20_001)
        truth = []
        for row in a * np.asarray(x0):
            densities = [stats.norm.pdf(grid, m, s) for m in row]
            prior = stats.norm.logpdf(grid, 0, np.hypot(a, s))
            logs = [stats.norm.logpdf(grid, m, s) - prior for m in row]
            truth.append(sum(np.trapezoid(d * g, grid) for d, g in zip(densities, logs)))
        np.testing.assert_allclose(found, truth, atol=1e-6)


def test_all_inner_terms_or_some_of_them(x64, key):
    """With a denoiser that does not look at x nothing is random but the choice of terms."""
    path, num_steps = paths.vp(), 12
    constant = lambda x, t: jnp.sin(5 * t)[:, None] * jnp.ones_like(x)
    x0 = jnp.array([[0.3, -0.2], [1.0, 2.0]])
    k = np.arange(1, num_steps)
    snr = lambda t: (np.asarray(path.alpha(jnp.array(t)) / path.sigma(jnp.array(t)))) ** 2
    weight = 0.5 * (snr(k / num_steps) - snr((k + 1) / num_steps))
    square = ((np.asarray(x0)[:, None] - np.sin(5 * (k + 1) / num_steps)[:, None]) ** 2).sum(-1)
    truth = (weight * square).sum(1)
    run = lambda key, m: diffusion.variational_bound(
        key, constant, path, x0, num_steps=num_steps, num_samples=m
    )["diffusion"]
    for m in (None, num_steps - 1):
        np.testing.assert_allclose(run(key, m), truth, rtol=1e-10)
    keys = jax.random.split(key, 4000)
    some = np.asarray(jax.vmap(lambda key: run(key, 3))(keys))
    z = (some.mean(0) - truth) / (some.std(0) / np.sqrt(len(keys)))
    assert np.abs(z).max() < 5.2  # 5e-7 for four values
    assert some.std() > 0


@pytest.mark.parametrize(("width", "outer"), [(2 / 256, 1 - 1 / 256), (2 / 255, 1.0)])
@pytest.mark.parametrize("mean", [-1.3, 0.2])
def test_reconstruction_is_a_probability_over_the_bins(x64, key, width, outer, mean):
    levels = jnp.linspace(-outer, outer, 256)[:, None]
    path = paths.linear()
    for num_steps in (4, 400):
        terms = diffusion.variational_bound(
            key,
            lambda x, t: jnp.full_like(x, mean),
            path,
            levels,
            num_steps=num_steps,
            num_samples=1,
            bin_width=width,
        )
        mass = np.exp(-np.asarray(terms["reconstruction"]))
        np.testing.assert_allclose(mass.sum(), 1, rtol=1e-9)
        inside = stats.norm.cdf(levels[100, 0] + width / 2, mean, 1 / num_steps)
        inside -= stats.norm.cdf(levels[100, 0] - width / 2, mean, 1 / num_steps)
        np.testing.assert_allclose(mass[100], inside, rtol=1e-6, atol=1e-14)


def test_reconstruction_is_finite_and_differentiable_in_float32(key):
    levels = jnp.linspace(-1, 1, 256)[:, None]

    def loss(shift):
        denoise = lambda x, t: jnp.full_like(x, 0.1) + shift
        terms = diffusion.variational_bound(key, denoise, paths.vp(), levels, num_samples=1)
        return terms["reconstruction"].sum()

    value, gradient = jax.value_and_grad(loss)(0.0)
    assert np.isfinite(value)
    assert np.isfinite(gradient)


def test_the_bound_does_not_depend_on_the_batch(key):
    path = paths.vp()
    denoise = exact.gaussian_denoiser(0.0, STD, path)
    keys, x0 = jax.random.split(key, 3), jax.random.normal(key, (3, 2))
    run = lambda keys, x0: diffusion.variational_bound(
        keys, denoise, path, x0, num_steps=10, num_samples=4
    )
    whole, alone = run(keys, x0), run(keys[1:2], x0[1:2])
    for name in whole:
        np.testing.assert_allclose(alone[name][0], whole[name][1], rtol=1e-4)


def test_ddpm_loss_draws_integer_steps_uniformly(x64, key):
    """The loss of "eps = 0" is |eps|^2 in the mean; the times are (k + 1) / T, equally often."""
    seen = []

    def predict(x, t):
        seen.append(t)
        return jnp.zeros_like(x)

    path = paths.ddpm(paths.linear_betas(25))
    x0 = jnp.zeros((20_000, 1))
    loss, aux = ddpm_loss(key, predict, path, x0, num_steps=25)
    k = np.asarray(seen[0]) * 25
    np.testing.assert_allclose(k, np.round(k), atol=1e-9)
    assert stats.chisquare(np.bincount(np.round(k).astype(int))[1:]).pvalue > 5e-7
    assert (np.round(k).min(), np.round(k).max()) == (1, 25)
    assert abs(float(loss.mean()) - 1) < 5.1 * np.sqrt(2 / 20_000)
    np.testing.assert_allclose(loss, aux["error"])


def test_bad_arguments_are_refused(key):
    path, x = paths.vp(), jnp.zeros((2, 1))
    denoise = exact.gaussian_denoiser(0.0, 1.0, path)
    run = lambda **options: diffusion.variational_bound(key, denoise, path, x, **options)
    for options, message in (
        ({"num_steps": 1}, "num_steps=1"),
        ({"num_steps": 10, "num_samples": 10}, "num_samples=10"),
        ({"num_steps": 10, "num_samples": 0}, "num_samples=0"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(**options)
    with pytest.raises(ConfigError, match="num_steps=0"):
        ddpm_loss(key, denoise, path, x, num_steps=0)


def test_the_open_bins_have_a_slope_in_both_modes():
    x0 = jnp.array([[-1.0, 0.0, 1.0]])
    t, path = jnp.full(1, 0.1), paths.vp()
    term = lambda shift: reconstruction_term(lambda x, t: x + shift, path, x0, x0, t, 2 / 255)[0]
    forward, reverse = jax.jvp(term, (0.01,), (1.0,))[1], jax.grad(term)(0.01)
    assert np.isfinite(forward)
    np.testing.assert_allclose(forward, reverse, rtol=1e-3)
