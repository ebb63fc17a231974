"""Losses in every parameterisation, by quadrature that is exact for Gaussian data; float64."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import diffusion, paths
from gen_jax.diffusion.losses import (
    ERROR_SCALES,
    WEIGHTINGS,
    denoising_loss,
    min_snr,
    off_the_poles,
)
from gen_jax.diffusion.time_sampling import T_MIN
from gen_jax.errors import ConfigError
from gen_jax.parameterisations import PARAMETERISATIONS

STD, MEAN, DATA_STD = 0.6, 0.3, 0.8
KINDS = PARAMETERISATIONS
PATHS = ("linear", "cosine", "vp", "ve")


def quadrature():
    """(x0, eps, weight) [81, 1], [81, 1], [81]: exact for polynomials of degree 17."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    weights = weights / weights.sum()
    x0, eps = np.meshgrid(MEAN + STD * nodes, nodes, indexing="ij")
    return jnp.array(x0.reshape(-1, 1)), jnp.array(eps.reshape(-1, 1)), np.outer(weights, weights)


def expected(path, t, prediction, weighting, shift=0.0):
    """Expected loss at time t of the exact prediction, with `shift` added to its x0."""
    denoise = exact.gaussian_denoiser(MEAN, STD, path)
    x0, eps, weight = quadrature()

    def predict(x, t):
        c = paths.coefficients(path, t)
        return paths.convert(denoise(x, t) + shift, x, c, "x0", prediction, DATA_STD)

    t = jnp.full(x0.shape[:1], t)
    options = {"prediction": prediction, "weighting": weighting, "data_std": DATA_STD}
    loss, aux = denoising_loss(predict, path, x0, eps, t, **options)
    mean = lambda value: float(weight.ravel() @ np.asarray(value))
    return mean(loss), mean(aux["error"])


def posterior_variance(path, t):
    a, s = float(path.alpha(jnp.array(t))), float(path.sigma(jnp.array(t)))
    return a, s, STD**2 * s**2 / (a**2 * STD**2 + s**2)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("prediction", KINDS)
def test_the_exact_prediction_is_optimal(x64, name, prediction):
    """Its loss is the posterior variance in the prediction's units; a shift adds its own square."""
    path, t = paths.PATHS[name](), 0.4
    variance = posterior_variance(path, t)[2]
    one = jnp.array(1.0)
    c = paths.coefficients(path, jnp.array(t))
    # Size of the prediction's value per unit of x0 at fixed x, from the conversions themselves.
    unit = lambda x0: paths.convert(x0[None], one[None], c, "x0", prediction, DATA_STD)[0]
    slope = float(unit(one) - unit(0 * one))
    loss, error = expected(path, t, prediction, "uniform")
    np.testing.assert_allclose(loss, variance * slope**2, rtol=1e-9)
    np.testing.assert_allclose(loss, error)
    for shift in (0.1, -0.3):
        shifted, _ = expected(path, t, prediction, "uniform", shift)
        np.testing.assert_allclose(shifted - loss, (shift * slope) ** 2, rtol=1e-7)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("weighting", ["bound", "edm", "min_snr", "simple"])
def test_weightings_that_do_not_depend_on_the_kind(x64, name, weighting):
    path = paths.PATHS[name]()
    for t in (0.1, 0.4, 0.8):
        a, s, variance = posterior_variance(path, t)
        d = (a / s) ** 2 * variance  # E |E - eps|^2
        lam = lambda t: jnp.log(path.alpha(t) / path.sigma(t))
        slope = abs(float(jax.grad(lam)(jnp.array(t))))
        level = s / a
        truth = {
            "simple": d,
            "bound": slope * d,
            "min_snr": min((a / s) ** 2, 5.0) * variance,
            # karras2022: weight (sig^2 + sd^2) / (sig sd)^2 on |D - x0|^2
            "edm": (level**2 + DATA_STD**2) / (level * DATA_STD) ** 2 * variance,
        }[weighting]
        for prediction in KINDS:
            np.testing.assert_allclose(
                expected(path, t, prediction, weighting)[0], truth, rtol=1e-8
            )


@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize("name", paths.PATHS)
def test_error_scales_are_those_of_the_conversions(x64, key, name, prediction):
    path, t = paths.PATHS[name](), jnp.array([0.15337, 0.32141, 0.77723, 0.91249])
    c = paths.coefficients(path, t)
    x, truth, guess = jax.random.normal(key, (3, 4, 2))
    convert = lambda eps, prediction: paths.convert(eps, x, c, "eps", prediction, DATA_STD)
    square = lambda prediction: (
        (convert(truth, prediction) - convert(guess, prediction)) ** 2
    ).sum(1)
    np.testing.assert_allclose(
        ERROR_SCALES[prediction](c, DATA_STD), square(prediction) / square("eps"), rtol=1e-8
    )


@pytest.mark.parametrize("name", paths.PATHS)
def test_every_loss_is_finite_at_both_ends(key, name):
    """Every weighting and prediction; on the linear path with bfloat16 times as well."""
    path = paths.PATHS[name]()
    ends = jnp.array([0.0, 1e-30, 1e-6, 1 - 1e-6, 1 - 2.0**-24, 1.0])
    x0, eps, guess = jax.random.normal(key, (3, 6, 2))

    @jax.jit
    def losses(t):
        run = partial(denoising_loss, lambda x, t: guess, path, x0, eps, t, data_std=0.8)
        return {(k, w): run(prediction=k, weighting=w)[0] for k in KINDS for w in WEIGHTINGS}

    for t in (ends, *[ends.astype(jnp.bfloat16)] * (name == "linear")):
        for combination, found in losses(t).items():
            assert np.isfinite(found).all(), combination


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_weights_are_their_limits_at_pure_noise(name):
    """alpha(1) = 0: with kappa = |alpha'(1)| and sigma = 1, by hand from the formulas."""
    path, t = paths.PATHS[name](), jnp.ones(1)
    c, sd = paths.coefficients(path, t), 0.8
    kappa = {"linear": 1.0, "cosine": np.pi / 2}[name]
    limits = {
        ("edm", "F"): 1.0,
        ("edm", "x0"): 1 / sd**2,
        ("edm", "v"): 1 / sd**2,
        ("edm", "velocity"): 1 / (sd * kappa) ** 2,
        ("bound", "x0"): 0.0,
        ("bound", "v"): 0.0,
        ("bound", "velocity"): 0.0,
        ("bound", "F"): 0.0,
        ("simple", "v"): 0.0,
        ("min_snr", "x0"): 0.0,
    }
    for (weighting, prediction), limit in limits.items():
        np.testing.assert_allclose(
            WEIGHTINGS[weighting](c, prediction, sd), limit, rtol=1e-5, atol=1e-9
        )
    at = paths.coefficients(path, jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(WEIGHTINGS["edm"](at, "F", sd), 1.0)


def test_times_off_the_poles_are_moved_by_nothing():
    t = jnp.array([0.0, 1e-3, 0.5, 1.0])
    moved = lambda name: np.asarray(off_the_poles(paths.PATHS[name](), t))
    for name in ("edm", "ve"):
        np.testing.assert_array_equal(moved(name), t)
    np.testing.assert_array_equal(moved("vp"), np.float32([T_MIN, 1e-3, 0.5, 1.0]))
    np.testing.assert_array_equal(moved("linear"), np.float32([T_MIN, 1e-3, 0.5, 1 - 2.0**-24]))


def test_every_prediction_has_its_error_scale():
    assert set(ERROR_SCALES) == set(KINDS)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_the_bound_weighting_integrates_to_the_variational_bound(x64, key, name):
    path = paths.PATHS[name]()
    start, num_steps = 0.02, 4000
    times = jnp.linspace(start, 1, num_steps)
    nodes, weights = np.polynomial.legendre.leggauss(32)
    inner = [expected(path, start + (1 - start) * (n + 1) / 2, "v", "bound")[0] for n in nodes]
    integral = (1 - start) / 2 * weights @ inner
    x0 = MEAN + STD * jax.random.normal(key, (100, 1))
    denoise = exact.gaussian_denoiser(MEAN, STD, path)
    run = lambda x0: diffusion.variational_bound(key, denoise, path, x0, times=times)["diffusion"]
    bound = np.asarray(jax.jit(run)(x0))
    # 5.1 standard errors, 5e-7; and what 4,000 steps lose.
    assert abs(bound.mean() - integral) < 5.1 * bound.std() / 10 + 0.01
    snr = lambda t: float((path.alpha(jnp.array(t)) / path.sigma(jnp.array(t))) ** 2)
    closed = 0.5 * np.log((1 / STD**2 + snr(start)) / (1 / STD**2 + snr(1.0)))
    np.testing.assert_allclose(integral, closed, rtol=1e-6)


def test_min_snr_takes_its_gamma(x64):
    c = paths.coefficients(paths.vp(), jnp.array([0.02, 0.5]))
    snr = (c.alpha / c.sigma) ** 2
    for gamma in (0.1, 5.0):
        found = min_snr(gamma)(c, "x0", 1.0)
        np.testing.assert_allclose(found, jnp.minimum(snr, gamma), rtol=1e-10)


def test_images_average_over_dimensions_and_custom_weightings(key):
    x0, eps = jax.random.normal(key, (2, 3, 4, 4, 1))
    t = jnp.array([0.1, 0.5, 0.9])
    weighting = lambda c, prediction, sd: 2 * c.alpha
    zero = lambda x, t: jnp.zeros_like(x)
    loss, aux = denoising_loss(
        zero, paths.linear(), x0, eps, t, prediction="velocity", weighting=weighting
    )
    truth = ((eps - x0) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(aux["error"], truth, rtol=1e-5)
    np.testing.assert_allclose(loss, 2 * (1 - t) * truth, rtol=1e-5)


def test_unknown_names_are_refused():
    x, t = jnp.zeros((2, 3)), jnp.full(2, 0.5)
    run = lambda **options: denoising_loss(lambda x, t: x, paths.linear(), x, x, t, **options)
    with pytest.raises(ConfigError, match="prediction='noise'"):
        run(prediction="noise")
    with pytest.raises(ConfigError, match="weighting='snr'"):
        run(weighting="snr")
