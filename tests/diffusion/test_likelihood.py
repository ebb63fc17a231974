"""Log-likelihood by the probability-flow ODE against exact densities."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import diffusion, paths
from gen_jax.axes import expand
from gen_jax.errors import ConfigError
from gen_jax.solvers.divergence import exact_divergence, hutchinson_divergence


def truth(mixture, x, level=0.0):
    """log-density of the data with noise of the level at which the integration starts."""
    return jax.vmap(lambda x: exact.mixture_log_density(mixture, 1.0, level, x))(x)


def centred_mixture():
    """Data of mean zero: the noisy end of a path with signal left is scored by a centred normal."""
    mixture = exact.mixture_2d()
    return mixture._replace(means=mixture.means - mixture.weights @ mixture.means)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp", "sub_vp", "ve", "edm"])
def test_ode_log_likelihood_is_the_mixtures(x64, key, name):
    mixture, path = centred_mixture(), paths.PATHS[name]()
    x = exact.mixture_sample(key, mixture, 32)
    denoise = diffusion.mixture_denoiser(*mixture, path)
    found = jax.jit(lambda x: diffusion.ode_log_prob(key, denoise, path, x))(x)
    level = 0.01 if name == "ve" else 0.002
    np.testing.assert_allclose(found, truth(mixture, x, level), atol=1e-3)
    if name != "ve":
        np.testing.assert_allclose(found, truth(mixture, x), atol=1e-3)


def test_in_float32_the_solver_is_not_the_limit(key):
    mixture, path = centred_mixture(), paths.vp()
    x = exact.mixture_sample(key, mixture, 32)
    denoise = diffusion.mixture_denoiser(*mixture, path)
    found = jax.jit(lambda x: diffusion.ode_log_prob(key, denoise, path, x))(x)
    np.testing.assert_allclose(found, truth(mixture, x), atol=2e-3)


def test_the_error_falls_with_the_steps_at_the_solvers_order(x64, key):
    path = paths.linear()
    denoise = exact.gaussian_denoiser(0.3, 0.6, path)
    x = jnp.array([[0.1], [1.0]])
    density = jax.scipy.stats.norm.logpdf(x[:, 0], 0.3, jnp.hypot(0.6, 0.002))
    run = lambda n, method: diffusion.ode_log_prob(
        key, denoise, path, x, num_steps=n, method=method
    )
    for method, order, ns in (("heun", 2, (256, 512)), ("rk4", 4, (256, 512))):
        errors = [float(jnp.abs(run(n, method) - density).max()) for n in ns]
        assert abs(np.log2(errors[0] / errors[1]) - order) < 0.25
    assert errors[1] < 1e-9


@pytest.mark.parametrize("name", ["linear", "ve"])
def test_one_program_serves_all_numbers_of_steps(x64, key, name):
    """A number in an array gives what the number itself does, within rounding, and log p."""
    path = paths.PATHS[name]()
    denoise = exact.gaussian_denoiser(0.0, 0.6, path)
    x = jnp.array([[0.1], [1.0]])
    run = lambda n: diffusion.ode_log_prob_with_error(
        key, denoise, path, x, num_steps=n, data_std=0.6
    )
    compiled = jax.jit(run)
    for n in (9, 128):
        (found, info), (known, known_info) = compiled(np.asarray(n)), run(n)
        np.testing.assert_allclose(found, known, rtol=1e-10)
        np.testing.assert_allclose(info.error, known_info.error, atol=1e-10)
    assert compiled._cache_size() == 1
    scale = jnp.hypot(0.6, 0.01 if name == "ve" else 0.002 * 0.6)
    np.testing.assert_allclose(found, jax.scipy.stats.norm.logpdf(x[:, 0], scale=scale), atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp", "sub_vp", "edm"])
def test_eight_steps_do_for_the_mixture_on_every_path(key, name):
    """One grid of noise levels in one variable: no path is harder than another."""
    mixture, path = centred_mixture(), paths.PATHS[name]()
    x = exact.mixture_sample(key, mixture, 256)
    denoise = diffusion.mixture_denoiser(*mixture, path)
    found = jax.jit(lambda x: diffusion.ode_log_prob(key, denoise, path, x, num_steps=8))(x)
    error = np.abs(found - truth(mixture, x, 0.002))
    assert error.mean() < 0.02
    assert error.max() < 0.2


@pytest.mark.parametrize("name", ["linear", "vp", "ve", "edm"])
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_one_step_does_for_normal_data_of_the_models_own_scale(x64, key, name, method):
    """There x / its deviation rests, in 784 dimensions as in one."""
    path = paths.PATHS[name]()
    denoise = exact.gaussian_denoiser(0.0, 0.5, path)
    x = 0.5 * jax.random.normal(key, (3, 784))
    found = diffusion.ode_log_prob(
        key, denoise, path, x, num_steps=1, method=method, divergence="hutchinson", data_std=0.5
    )
    scale = jnp.hypot(0.5, 0.01 if name == "ve" else 0.002 * (1 if name == "edm" else 0.5))
    density = jax.scipy.stats.norm.logpdf(x, scale=scale).sum(1)
    np.testing.assert_allclose(found, density, rtol=1e-9)


@pytest.mark.parametrize(
    ("alpha", "sigma"),
    [
        (lambda t: (1 - t) ** 2, lambda t: t),
        (lambda t: 1 - 3 * t**2 + 2 * t**3, lambda t: t),
        (lambda t: jnp.sqrt(1 - t), jnp.sqrt),
        (lambda t: jnp.sqrt(1 - t**2), lambda t: t),
    ],
    ids=["square", "smooth step", "roots", "circle"],
)
def test_no_path_has_a_pole_at_its_end(key, alpha, sigma):
    """d(alpha / sigma) / dt is 0 at t = 1, or infinite; with fixed steps and adaptive ones."""
    path = paths.GaussianPath(alpha, sigma)
    denoise, x = exact.gaussian_denoiser(0.3, 0.6, path), jnp.array([[0.1], [1.0], [-2.0]])
    density = jax.scipy.stats.norm.logpdf(x[:, 0], 0.3, 0.6)
    for n in (16, jnp.asarray(16), None):
        found = diffusion.ode_log_prob(key, denoise, path, x, num_steps=n)
        np.testing.assert_allclose(found, density, atol=2e-3)


def test_gradients_in_a_schedule_are_those_of_differences(x64, key):
    """The times move with it, and so does what a network that is no denoiser sees."""
    x = jnp.array([[0.1, -0.4], [1.0, 0.2]])
    network = lambda x, t: 0.7 * jnp.tanh(x + expand(jnp.sin(3 * t), x))

    def function(value):
        path = paths.from_gamma(lambda t: value * (-8 + 16 * t) - 1)
        return diffusion.ode_log_prob(key, network, path, x, num_steps=8).sum()

    difference = (function(1 + 1e-5) - function(1 - 1e-5)) / 2e-5
    for gradient in (jax.grad(function)(1.0), jax.jacfwd(function)(1.0)):
        np.testing.assert_allclose(gradient, difference, rtol=1e-5)


def wide_mixture():
    """Four modes in 16 dimensions, and five points: a sample, and four at three times samples."""
    k_means, k_roots, k_points = jax.random.split(jax.random.key(0), 3)
    roots = jax.random.normal(k_roots, (4, 16, 16)) / 4
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * jnp.eye(16)
    means = 2 * jax.random.normal(k_means, (4, 16))
    mixture = exact.Mixture(jnp.full(4, 0.25), means, covariances)
    x = exact.mixture_sample(k_points, mixture, 5)
    return mixture, x * jnp.array([1.0, 3.0, 3.0, 3.0, 3.0])[:, None]


def test_far_points_need_an_adaptive_solver_and_the_error_is_told(key):
    (mixture, x), path = wide_mixture(), paths.linear()
    denoise = diffusion.mixture_denoiser(*mixture, path)
    run = jax.jit(lambda x: diffusion.ode_log_prob_with_error(key, denoise, path, x))
    (found, info), density = run(x), truth(mixture, x, 0.002)
    assert density[1:].max() < -300
    np.testing.assert_allclose(found, density, atol=0.05)
    assert np.all(np.abs(found - density) <= info.error + 0.01)
    assert float(info.error.max()) < 5
    fixed = jax.jit(
        lambda x: diffusion.ode_log_prob_with_error(key, denoise, path, x, num_steps=64)
    )
    found, info = fixed(x)
    assert np.abs(found - density).max() > 20  # what this test is for: rk4 chatters on ridges
    assert float(info.error.max()) > 5
    assert float(info.error[0]) < 0.01
    # The network and one derivative for each dimension, four stages of 64 and of 32 steps.
    assert int(info.calls) == (16 + 1) * 4 * (64 + 32)


def test_each_example_has_its_own_steps_and_its_own_label(key):
    """The denoiser holds a mean for each example; alone each gives what it gives in the batch."""
    path, mean = paths.cosine(), jnp.array([[0.3], [-1.0], [2.0]])
    x = jnp.array([[0.1], [4.0], [-3.0]])
    run = jax.jit(
        lambda mean, x: diffusion.ode_log_prob(
            key, exact.gaussian_denoiser(mean, 0.6, path), path, x, method="tsit5"
        )
    )
    density = jax.scipy.stats.norm.logpdf(x, mean, jnp.hypot(0.6, 0.002))[:, 0]
    np.testing.assert_allclose(run(mean, x), density, rtol=1e-4, atol=1e-3)
    alone = jnp.stack([run(mean[i : i + 1], x[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(run(mean, x), alone, rtol=1e-5, atol=1e-5)


def test_too_few_steps_are_nan_and_times_are_those_of_floats(key):
    path, x = paths.linear(), jnp.array([[0.1], [1.0]], jnp.bfloat16)
    denoise = exact.gaussian_denoiser(0.3, 0.6, path)
    short = diffusion.ode_log_prob(key, denoise, path, x, max_steps=2)
    assert np.isnan(short).all()
    for method, dtype in (("rk4", jnp.float32), ("dopri5", jnp.float32)):
        found = diffusion.ode_log_prob(key, denoise, path, x, method=method)
        assert found.dtype == dtype
        density = jax.scipy.stats.norm.logpdf(x.astype(jnp.float32)[:, 0], 0.3, 0.6)
        np.testing.assert_allclose(found, density, atol=1e-3)


def test_steps_between_given_times(x64, key):
    """Times of any spacing: the density, with the noise of the first of them."""
    path = paths.GaussianPath(lambda t: jnp.sqrt(1 - t), jnp.sqrt)
    denoise, x = exact.gaussian_denoiser(0.3, 0.6, path), jnp.array([[0.1], [1.0]])
    times = jnp.linspace(0.1, 1, 65) ** 3
    density = jax.scipy.stats.norm.logpdf(x[:, 0], 0.3, jnp.sqrt(0.36 + 1e-3 / 0.999))
    for method in ("rk4", "dopri5"):
        found = diffusion.ode_log_prob(key, denoise, path, x, times=times, method=method)
        np.testing.assert_allclose(found, density, atol=2e-5)


def test_data_std_scores_the_noisy_end(x64, key):
    """On a path whose noisy end keeps some signal the prior must know the size of the data."""
    path = paths.ve(0.01, 3.0)
    denoise = exact.gaussian_denoiser(0.0, 2.0, path)
    x = jnp.array([[0.5, -1.0]])
    found = diffusion.ode_log_prob(key, denoise, path, x, num_steps=96, data_std=2.0)
    density = jax.scipy.stats.norm.logpdf(x, scale=jnp.hypot(2.0, 0.01)).sum()
    np.testing.assert_allclose(found, density, atol=1e-6)
    wrong = diffusion.ode_log_prob(key, denoise, path, x, num_steps=96, data_std=1.0)
    assert abs(wrong[0] - density) > 0.05


def test_noise_levels_are_in_units_of_the_data(key):
    """Noise of deviation 0.002 would drown data of deviation 0.001, and 80 would not hide 1000."""
    path, x = paths.linear(), jnp.array([[0.5], [-2.0]])
    for std in (1e-3, 1e3):
        denoise = exact.gaussian_denoiser(0.0, std, path)
        found = diffusion.ode_log_prob(key, denoise, path, std * x, num_steps=64, data_std=std)
        density = jax.scipy.stats.norm.logpdf(std * x[:, 0], scale=std)
        np.testing.assert_allclose(found, density, atol=1e-2)


def test_hutchinson_is_exact_for_a_diagonal_jacobian(x64, key):
    path = paths.vp()
    denoise = exact.gaussian_denoiser(jnp.array([0.3, -1.0, 0.0]), 0.6, path)
    x = jax.random.normal(key, (4, 3))
    run = lambda key, kind: diffusion.ode_log_prob(key, denoise, path, x, divergence=kind)
    exact_value = run(key, "exact")
    np.testing.assert_allclose(run(key, "hutchinson"), exact_value, rtol=1e-10)


def test_hutchinson_is_unbiased_with_one_probe_per_trajectory(x64, key):
    # In the plane a Rademacher probe takes two values up to sign: their mean is exact.
    mixture, path = exact.mixture_2d(), paths.linear()
    x = exact.mixture_sample(key, mixture, 3)
    field = paths.velocity(diffusion.mixture_denoiser(*mixture, path), path)
    at = lambda x: field(x, jnp.full(3, 0.4))
    probes = [jnp.tile(jnp.array(z), (3, 1)) for z in ([1.0, 1.0], [1.0, -1.0])]
    value, whole = exact_divergence(at, x, probes[0])
    found = [hutchinson_divergence(at, x, z)[1] for z in probes]
    np.testing.assert_allclose(sum(found) / 2, whole, rtol=1e-10)
    of_both = hutchinson_divergence(at, x, jnp.stack(probes))
    np.testing.assert_allclose(of_both[0], value)
    np.testing.assert_allclose(of_both[1], whole, rtol=1e-10)
    assert np.abs(found[0] - whole).max() > 1e-3
    np.testing.assert_allclose(value, at(x))
    jacobian = jax.vmap(jax.jacfwd(lambda x: field(x[None], jnp.full(1, 0.4))[0]))(x)
    np.testing.assert_allclose(whole, jnp.trace(jacobian, axis1=1, axis2=2), rtol=1e-10)

    # Along a solve: many draws per point take just two values, half of them each.
    keys, copies = jax.random.split(key, 64), jnp.tile(x[:1], (64, 1))
    denoise = diffusion.mixture_denoiser(*mixture, path)
    log_prob = lambda kind, steps: diffusion.ode_log_prob(
        keys, denoise, path, copies, divergence=kind, num_steps=steps
    )
    draws = log_prob("hutchinson", 16)
    values = np.unique(np.round(draws, 8))
    assert len(values) == 2  # one probe for the whole trajectory
    # Where the divergence is linear in the probe's products the two average to the exact one.
    np.testing.assert_allclose(values.mean(), log_prob("exact", 16)[0], atol=1e-8)


def test_the_variance_of_several_probes(x64, key):
    """That of 4 is a quarter of that of one; the means are the exact divergence's."""
    mixture, path = exact.mixture_2d(), paths.linear()
    denoise = diffusion.mixture_denoiser(*mixture, path)
    x = jnp.tile(exact.mixture_sample(key, mixture, 1), (4000, 1))
    run = lambda **options: np.asarray(
        diffusion.ode_log_prob(key, denoise, path, x, num_steps=16, **options)
    )
    truth = run()[0]
    one, four = (run(divergence="hutchinson", num_probes=k) for k in (1, 4))
    assert one.std() > 1e-3
    for draws, share in ((one, 1), (four, 1 / 4)):
        error = one.std() * np.sqrt(share / len(draws))
        assert abs(draws.mean() - truth) < 5 * error
        assert draws.var() / one.var() == pytest.approx(share, rel=0.1)
    keys = jax.random.split(key, 2)
    alone = lambda keys, x: diffusion.ode_log_prob(
        keys, denoise, path, x, num_steps=4, divergence="hutchinson", num_probes=3
    )
    np.testing.assert_allclose(alone(keys, x[:2])[1:], alone(keys[1:], x[1:2]), rtol=1e-10)
    adaptive = diffusion.ode_log_prob(
        key, denoise, path, x[:2], divergence="hutchinson", num_probes=512
    )
    np.testing.assert_allclose(adaptive, truth, atol=6 * one.std() / np.sqrt(512) + 1e-3)


def test_gradient_and_keys_per_example(key):
    mixture, path = exact.mixture_2d(), paths.linear()
    denoise = diffusion.mixture_denoiser(*mixture, path)
    keys, x = jax.random.split(key, 3), jax.random.normal(key, (3, 2))
    run = lambda keys, x: diffusion.ode_log_prob(
        keys, denoise, path, x, num_steps=4, divergence="hutchinson"
    )
    whole = run(keys, x)
    np.testing.assert_allclose(run(keys[1:2], x[1:2])[0], whole[1], rtol=1e-4)
    gradient = jax.grad(lambda x: run(keys, x).sum())(x)
    assert np.isfinite(gradient).all()


def test_images_and_bad_arguments(key):
    path = paths.linear()
    denoise = exact.gaussian_denoiser(0.0, 1.0, path)
    x = jax.random.normal(key, (2, 3, 3, 1))
    found = diffusion.ode_log_prob(key, denoise, path, x, num_steps=8)
    truth = jax.scipy.stats.norm.logpdf(x).sum((1, 2, 3))
    np.testing.assert_allclose(found, truth, rtol=1e-2)
    with pytest.raises(ConfigError, match="divergence='trace'"):
        diffusion.ode_log_prob(key, denoise, path, x, divergence="trace")
    for options, message in (
        ({"method": "rk5"}, "method='rk5'"),
        ({"method": "dopri5", "num_steps": 4}, "num_steps=4"),
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_steps": jnp.asarray(0)}, "num_steps=0"),
        ({"divergence": "hutchinson", "num_probes": 0}, "num_probes=0"),
        ({"num_probes": 2}, "num_probes=2 is not for divergence='exact'"),
    ):
        with pytest.raises(ConfigError, match=message):
            diffusion.ode_log_prob(key, denoise, path, x, **options)
    for times in ([0.5], [1.0, 0.01], [0.01, 0.01, 1.0], [0.01, 1.5]):
        for method in ("rk4", "dopri5"):
            with pytest.raises(ConfigError, match="times must"):
                diffusion.ode_log_prob(key, denoise, path, x, times=jnp.array(times), method=method)
    with pytest.raises(ConfigError, match="times start at 0, where the path has no noise"):
        diffusion.ode_log_prob(key, denoise, path, x, times=jnp.array([0.0, 0.5, 1.0]))
    with pytest.raises(ConfigError, match="num_steps >= 2"):
        diffusion.ode_log_prob_with_error(key, denoise, path, x, num_steps=1)


def test_the_exact_divergence_of_no_points_is_empty():
    value, divergence = exact_divergence(
        lambda x: 2 * x, jnp.zeros((0, 2, 3)), jnp.zeros((0, 2, 3))
    )
    assert value.shape == (0, 2, 3)
    assert divergence.shape == (0,)
