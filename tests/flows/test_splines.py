"""Splines against autodiff, at their edges, and against the published formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.flows import splines

BINS, HALF = 6, 2.0
SPLINES = {
    "rational_quadratic": (splines.rational_quadratic, 3 * BINS - 1),
    "linear_rational": (splines.linear_rational, 4 * BINS - 1),
}


def raw_parameters(name, n, scale=2.0):
    return scale * jax.random.normal(jax.random.key(3), (n, SPLINES[name][1]), jnp.float64)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", SPLINES)
def test_derivative_is_that_of_autodiff(x64, name, inverse):
    run = lambda x, raw: SPLINES[name][0](x, raw, HALF, inverse=inverse)
    x = jnp.linspace(-2.5, 2.5, 200)
    raw = raw_parameters(name, 200)
    slope = jax.jit(jax.vmap(jax.grad(lambda x, raw: run(x, raw)[0])))(x, raw)
    assert np.all(slope > 0)
    np.testing.assert_allclose(run(x, raw)[1], np.log(slope), atol=1e-9)
    outside = np.abs(x) > HALF
    np.testing.assert_array_equal(run(x, raw)[0][outside], x[outside])


@pytest.mark.parametrize("name", SPLINES)
def test_splines_are_continuous_with_their_slope_at_knots_and_edges(x64, name):
    """No jumps of value or slope: neither changes by more than a smooth curve would."""
    raw = raw_parameters(name, 1, scale=0.5)
    x = jnp.linspace(-2.2, 2.2, 100_001)
    y, log_slope = jax.jit(
        lambda x: SPLINES[name][0](x, jnp.broadcast_to(raw, (*x.shape, raw.shape[1])), HALF)
    )(x)
    assert np.all(np.diff(y) > 0)
    # The slope changes by at most 4 % from point to point, also across knots and edges.
    assert np.abs(np.diff(log_slope)).max() < 0.04
    mean_slope = np.diff(y) / (x[1] - x[0])
    np.testing.assert_allclose(mean_slope, np.exp(log_slope[1:]), rtol=0.04)
    np.testing.assert_allclose(log_slope[np.abs(x) > HALF], 0)


@pytest.mark.parametrize("name", SPLINES)
def test_gradients_are_finite_everywhere_in_float32(name):
    """Also outside the box, on its edge, at a knot, and for extreme parameters."""
    function, size = SPLINES[name]
    x = jnp.array([-1e6, -HALF, 0.0, HALF, HALF - 1e-7, 3.0, 1e20])

    def total(x, raw):
        both = [function(x, raw, HALF, inverse=inverse) for inverse in (False, True)]
        return sum(v.sum() for pair in both for v in pair)

    run = jax.jit(jax.value_and_grad(total, (0, 1)))
    for scale in (0.0, 1.0, 30.0):
        value, gradients = run(x, scale * jax.random.normal(jax.random.key(1), (len(x), size)))
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", SPLINES)
def test_autodiff_at_knots_is_the_slope_returned(name, inverse):
    """A tie of a minimum, maximum or clip would halve it: 0.5 for the untrained spline at 0."""
    function, size = SPLINES[name]
    run = lambda x, raw: function(x, raw, HALF, inverse=inverse)
    both = jax.jit(jax.vmap(jax.value_and_grad(run, has_aux=True)))
    knots = jnp.linspace(-HALF, HALF, 4 * BINS + 1)  # of the linear-rational spline also middles
    (value, log_slope), slope = both(knots, jnp.zeros((len(knots), size)))
    np.testing.assert_allclose(value, knots, atol=1e-6)
    np.testing.assert_allclose(slope, 1, atol=2e-5)
    # Where parameters move the knots, points beside each, on it as rounding has it, and its image.
    raw = 0.5 * jnp.cos(jnp.arange(size, dtype=jnp.float32))
    part = jnp.cumsum(1e-3 + (1 - BINS * 1e-3) * jax.nn.softmax(raw[:BINS]))[:-1]
    at = 2 * HALF * part - HALF
    at = function(at, jnp.tile(raw, (BINS - 1, 1)), HALF)[0] if inverse else at
    near = jnp.concatenate([at + step * 2.0**-23 for step in range(-3, 4)])
    (_, log_slope), slope = both(near, jnp.tile(raw, (len(near), 1)))
    np.testing.assert_allclose(slope, jnp.exp(log_slope), rtol=1e-3)


@pytest.mark.parametrize("name", SPLINES)
def test_bins_keep_their_smallest_width_and_slope(x64, name):
    function, size = SPLINES[name]
    raw = jnp.zeros((1, size)).at[0, 0].set(60.0).at[0, BINS].set(-60.0)
    x = jnp.linspace(-2, 2, 4001)[:, None]
    y, log_slope = function(x, jnp.broadcast_to(raw, (4001, 1, size)), HALF)
    # The first bin has nearly all the width and MIN_BIN of the height.
    edge = -HALF + 2 * HALF * (1 - (BINS - 1) * splines.MIN_BIN)
    height = np.interp(edge, x[:, 0], y[:, 0]) + HALF
    assert height == pytest.approx(2 * HALF * splines.MIN_BIN, rel=1e-2)
    assert np.isfinite(log_slope).all()


def test_rational_quadratic_bins_are_the_published_formula(x64):
    """Written again from durkan2019 eq. 19, with knots from the raw numbers by NumPy."""
    raw = np.asarray(raw_parameters("rational_quadratic", 1, 1.0))[0]
    share = lambda r: 1e-3 + (1 - BINS * 1e-3) * np.exp(r) / np.exp(r).sum()
    knots = lambda r: np.concatenate([[-HALF], -HALF + 2 * HALF * np.cumsum(share(r))])
    xs, ys = knots(raw[:BINS]), knots(raw[BINS : 2 * BINS])
    slopes = 1e-3 + np.log1p(np.exp(raw[2 * BINS :] + np.log(np.expm1(1 - 1e-3))))
    slopes = np.concatenate([[1], slopes, [1]])
    x = np.linspace(-1.99, 1.99, 57)
    k = np.searchsorted(xs, x) - 1
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    t = (x - xs[k]) / (xs[k + 1] - xs[k])
    below = s + (slopes[k + 1] + slopes[k] - 2 * s) * t * (1 - t)
    y = ys[k] + (ys[k + 1] - ys[k]) * (s * t**2 + slopes[k] * t * (1 - t)) / below
    got = splines.rational_quadratic(jnp.asarray(x), jnp.broadcast_to(raw, (57, len(raw))), HALF)[0]
    np.testing.assert_allclose(got, y, atol=1e-12)
