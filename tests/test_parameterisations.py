"""Every change of parameterisation against values from each one's own definition, in float64."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import paths
from gen_jax.errors import ConfigError
from gen_jax.parameterisations import PARAMETERISATIONS, convert, from_x0_eps, pair

TIMES = np.array([0.15337, 0.32141, 0.50037, 0.77723, 0.91249])  # off the schedules' grid points
DATA_STD = 0.8


def assert_close(value, target, tolerance):
    """Absolute and relative: |value - target| <= tolerance (1 + |target|)."""
    np.testing.assert_allclose(value, target, rtol=tolerance, atol=tolerance)


def truth(path, mixture, x, t):
    """Every parameterisation's exact value [B, D], each from its own definition.

    x0 and eps by Gaussian conditioning, the score by differentiating the log-density, F by EDM's
    preconditioning, the velocity by following quantiles (1-D only).
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    x0, eps = jax.vmap(lambda x, a, s: exact.mixture_posterior(mixture, a, s, x))(x, alpha, sigma)
    score = jax.vmap(lambda x, a, s: exact.mixture_score(mixture, a, s, x))(x, alpha, sigma)
    a, s = alpha[:, None], sigma[:, None]
    level = s / a
    c_skip = DATA_STD**2 / (level**2 + DATA_STD**2)
    c_out = level * DATA_STD / jnp.sqrt(level**2 + DATA_STD**2)
    values = {"x0": x0, "eps": eps, "score": score, "v": a * eps - s * x0}
    values["F"] = (x0 - c_skip * x / a) / c_out
    if x.shape[1] == 1:
        velocity = jax.vmap(lambda x, t: exact.mixture_velocity_1d(mixture, path, x, t))
        values["velocity"] = velocity(x[:, 0], t)[:, None]
    return values


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("name", paths.PATHS)
def test_all_conversions_reproduce_the_exact_values(x64, key, name, dimension):
    path, t = paths.PATHS[name](), jnp.array(TIMES)
    mixture = exact.mixture_1d() if dimension == 1 else exact.mixture_2d()
    x = exact.mixture_noised(key, path, mixture, t)
    values = truth(path, mixture, x, t)
    if dimension == 1:
        assert set(values) == set(PARAMETERISATIONS)
    coefficients = paths.coefficients(path, t)
    for source, given in values.items():
        for target, wanted in values.items():
            found = convert(given, x, coefficients, source, target, DATA_STD)
            scale = jnp.maximum(1, jnp.abs(wanted))
            assert jnp.max(jnp.abs(found - wanted) / scale) < 1e-10, (source, target)


@pytest.mark.parametrize("name", paths.PATHS)
def test_conversions_of_any_value_return_and_compose(x64, key, name):
    path, t = paths.PATHS[name](), jnp.array(TIMES)
    key_x, key_value = jax.random.split(key)
    x, value = jax.random.normal(key_x, (5, 2, 3)), jax.random.normal(key_value, (5, 2, 3))
    coefficients = paths.coefficients(path, t)
    change = lambda value, a, b: convert(value, x, coefficients, a, b, DATA_STD)
    for source in PARAMETERISATIONS:
        direct = {b: change(value, source, b) for b in PARAMETERISATIONS}
        assert_close(direct[source], value, 1e-10)
        for middle in PARAMETERISATIONS:
            assert_close(change(direct[middle], middle, source), value, 1e-9)


@pytest.mark.parametrize("name", paths.PATHS)
def test_from_pair_is_the_regression_target(x64, key, name):
    # With x = alpha x0 + sigma eps known, the target and x determine the pair; and the velocity is
    # the straight derivative of x along time.
    path, t = paths.PATHS[name](), jnp.array(TIMES)
    key_x0, key_eps = jax.random.split(key)
    x0, eps = jax.random.normal(key_x0, (5, 2)), jax.random.normal(key_eps, (5, 2))
    c = paths.coefficients(path, t)
    x = c.alpha[:, None] * x0 + c.sigma[:, None] * eps
    for name in PARAMETERISATIONS:
        value = from_x0_eps(x0, eps, c, name, DATA_STD)
        back_x0, back_eps = pair(value, x, c, name, DATA_STD)
        assert_close(back_x0, x0, 1e-9)
        assert_close(back_eps, eps, 1e-9)
    d = 1e-6
    moved = path.alpha(t + d)[:, None] * x0 + path.sigma(t + d)[:, None] * eps
    before = path.alpha(t - d)[:, None] * x0 + path.sigma(t - d)[:, None] * eps
    velocity = from_x0_eps(x0, eps, c, "velocity")
    assert_close(velocity, (moved - before) / (2 * d), 1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_v_and_velocity_have_no_pole_at_either_end(x64, key, name, dtype):
    path = paths.PATHS[name]()
    t = jnp.array([0.0, 0.0, 1.0, 1.0], dtype)
    key_x0, key_eps = jax.random.split(key)
    x0, eps = jax.random.normal(key_x0, (4, 3), dtype), jax.random.normal(key_eps, (4, 3), dtype)
    c = paths.coefficients(path, t)
    x = c.alpha[:, None] * x0 + c.sigma[:, None] * eps
    for source in ("v", "velocity", "F"):
        value = from_x0_eps(x0, eps, c, source, DATA_STD)
        for target in ("x0", "eps", "v", "velocity", "F"):
            found = convert(value, x, c, source, target, DATA_STD)
            wanted = from_x0_eps(x0, eps, c, target, DATA_STD)
            assert_close(found, wanted, 1e-5 if dtype == jnp.float32 else 1e-12)


@pytest.mark.parametrize("name", paths.PATHS)
def test_convert_is_batch_independent_and_traces_once(name, key, count_traces):
    path = paths.PATHS[name]()
    x = jax.random.normal(key, (4, 2, 2))
    run = count_traces(lambda x, t: convert(x, 2 * x, paths.coefficients(path, t), "v", "velocity"))
    compiled = jax.jit(run)
    t = jnp.array([0.2, 0.4, 0.6, 0.8])
    whole, *_ = [compiled(scale * x, t) for scale in (1.0, 2.0, 3.0)]
    assert run.calls == 1
    alone = convert(x[2:3], 2 * x[2:3], paths.coefficients(path, t[2:3]), "v", "velocity")
    np.testing.assert_allclose(alone[0], whole[2], rtol=1e-5)
    scalar = convert(x, 2 * x, paths.coefficients(path, t[2]), "v", "velocity")
    np.testing.assert_allclose(scalar[2], whole[2], rtol=1e-5)


def test_unknown_parameterisations_are_refused():
    x, c = jnp.ones((2, 3)), paths.coefficients(paths.linear(), jnp.array([0.2, 0.5]))
    with pytest.raises(ConfigError, match="source='epsilon' is unknown"):
        convert(x, x, c, "epsilon", "x0")
    with pytest.raises(ConfigError, match="target='velocty' is unknown; did you mean 'velocity'"):
        convert(x, x, c, "x0", "velocty")


def test_planted_bugs_are_caught(x64, key):
    """A sign, a wrong derivative and a squared schedule: each moves a conversion by over 1e-2."""
    mixture, t = exact.mixture_1d(), jnp.array(TIMES)
    path = paths.cosine()
    x = exact.mixture_noised(key, path, mixture, t)
    values = truth(path, mixture, x, t)
    c = paths.coefficients(path, t)
    wrong = {
        "sign": c._replace(d_sigma=-c.d_sigma),
        "missing": c._replace(d_alpha=jnp.ones_like(t) * -1),
        "squared": c._replace(sigma=c.sigma**2),
    }
    for bug in wrong.values():
        found = convert(values["x0"], x, bug, "x0", "velocity")
        assert jnp.max(jnp.abs(found - values["velocity"])) > 1e-2


@pytest.mark.parametrize("name", paths.PATHS)
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_a_conversion_to_itself_is_none_also_at_the_ends(name, kind):
    """There sigma' may be infinite (vp) and alpha or sigma 0: the way by x0 and eps is NaN."""
    value = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    c = paths.coefficients(paths.PATHS[name](), jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(convert(value, value, c, kind, kind), value)


def test_convert_takes_single_numbers_as_it_takes_arrays():
    c = paths.coefficients(paths.cosine(), jnp.float32(0.3))
    v, x = jnp.array([0.4, -1.0]), jnp.array([1.5, 0.2])
    whole = convert(v, x, c, "v", "eps")
    each = jax.vmap(lambda v, x: convert(v, x, c, "v", "eps"))(v, x)
    np.testing.assert_allclose(each, whole, rtol=1e-6)
    np.testing.assert_allclose(convert(v[0], x[0], c, "v", "eps"), whole[0], rtol=1e-6)
