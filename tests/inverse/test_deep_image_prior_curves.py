"""The deep image prior with a network of one free image, whose curves are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import inverse, nets
from gen_jax.errors import ConfigError, DataError

SHAPE = (2, 3, 1)
IDENTITY = inverse.uncropping(SHAPE, 0)
RNG = np.random.default_rng(0)
Y, CLEAN = (RNG.normal(size=SHAPE).astype(np.float32) for _ in range(2))
FREE = nets.from_functions(
    lambda key, x, noise, condition: {"image": jnp.zeros_like(x)},
    lambda params, x, noise, condition: params["image"],
)
STEPS, WINDOW = 400, 7


@pytest.fixture(scope="module")
def fitted():
    fit = lambda y, clean: inverse.deep_image_prior(
        jax.random.key(0), FREE, IDENTITY, y, steps=STEPS, channels=1, window=WINDOW, clean=clean,
        patience=STEPS,
    )  # fmt: skip
    return jax.jit(fit)(Y, CLEAN)


def adam(y, steps, rate=0.01):
    """Adam on mean (x - y)^2 from 0 (kingma2015, algorithm 1), in float64: every iterate."""
    x, m, v = np.zeros(y.shape), 0.0, 0.0
    for t in range(1, steps + 1):
        yield x
        gradient = 2 * (x - y) / y.size
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def test_curves_of_a_network_that_is_one_image(fitted):
    path = np.stack([*adam(Y.astype(np.float64), STEPS)])
    mean_square = lambda gap: (gap**2).mean((1, 2, 3))
    np.testing.assert_allclose(fitted.losses, mean_square(path - Y), atol=1e-5)
    np.testing.assert_allclose(fitted.errors, mean_square(path - CLEAN), rtol=1e-4)
    np.testing.assert_allclose(fitted.last, path[-1], atol=1e-4)
    assert np.all(np.isinf(fitted.variances[: WINDOW - 1]))
    for step in (WINDOW - 1, 40, STEPS - 1):
        recent = path[step - WINDOW + 1 : step + 1]
        expected = recent.var(axis=0).sum()
        np.testing.assert_allclose(fitted.variances[step], expected, rtol=2e-2, atol=1e-7)


def test_stops_where_the_variance_is_smallest(fitted):
    stop = int(fitted.stop)
    assert stop == int(np.argmin(fitted.variances))
    path = [*adam(Y.astype(np.float64), STEPS)]
    np.testing.assert_allclose(fitted.x, path[stop], atol=1e-4)


def test_patience_ends_the_watch_and_short_runs_have_no_stop():
    """Falling targets alone: with a patience of 1 the first rise of the variance ends it."""
    fit = lambda **options: inverse.deep_image_prior(
        jax.random.key(0), FREE, IDENTITY, Y, channels=1, learning_rate=0.3, **options
    )
    found = fit(steps=60, window=3, patience=1)
    variances = np.asarray(found.variances)
    rises = [t for t in range(3, 59) if min(variances[t], variances[t + 1]) >= variances[:t].min()]
    expected = int(np.argmin(variances[: rises[0]]))
    assert int(found.stop) == expected < 58
    short = fit(steps=2, window=3)
    assert int(short.stop) == 1
    np.testing.assert_array_equal(short.x, short.last)
    assert np.isnan(short.errors).all()


def test_a_unet_under_vmap_and_an_operator():
    """Two hidden images at once; the missing half is finite and the loss falls."""
    mask = np.broadcast_to(np.arange(4)[:, None, None] < 2, (4, 4, 1))
    operator = inverse.inpainting(mask)
    network = nets.UNet(widths=(8,), blocks=1)
    y = operator.apply(jnp.asarray(RNG.normal(size=(2, 4, 4, 1)), jnp.float32))
    fit = lambda key, y: inverse.deep_image_prior(
        key, network, operator, y, steps=30, channels=3, window=5, patience=9
    )
    found = jax.jit(jax.vmap(fit))(jax.random.split(jax.random.key(1)), y)
    assert found.x.shape == (2, 4, 4, 1)
    assert bool(jnp.all(jnp.isfinite(found.last)))
    assert bool(jnp.all(found.losses[:, -1] < 0.5 * found.losses[:, 0]))


def test_refusals():
    fit = lambda y=Y, **options: inverse.deep_image_prior(
        jax.random.key(0), FREE, IDENTITY, y, **{"steps": 2, "channels": 1} | options
    )
    with pytest.raises(ConfigError, match="channels=0"):
        fit(channels=0)
    with pytest.raises(ConfigError, match="window=1"):
        fit(window=1)
    with pytest.raises(ConfigError, match="y must have the shape"):
        fit(np.zeros((3, 3, 1)))
    with pytest.raises(ConfigError, match="learning_rate=0"):
        fit(learning_rate=0.0)
    for clean in (Y[..., 0], Y[None], np.ones((2, 1, 1))):
        with pytest.raises(ConfigError, match="clean has shape"):
            fit(clean=clean)
    with pytest.raises(ConfigError, match="images"):
        inverse.deep_image_prior(jax.random.key(0), FREE, inverse.dense(np.eye(3)), np.ones(3))
    with pytest.raises(ConfigError, match="learning_rate=inf"):
        fit(learning_rate=np.inf)
    with pytest.raises(DataError, match="y holds values"):
        fit(np.full_like(Y, np.nan))
