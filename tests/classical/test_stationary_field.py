"""The stationary field: its density as a dense normal, its samples, its link with spot noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax import data
from gen_jax.classical import asymptotic_discrete_spot_noise, stationary_field
from gen_jax.errors import ConfigError

FALSE_ALARM = 5e-7
SHAPE = (8, 9, 2)


@pytest.fixture
def images():
    """Six images [6, 8, 9, 2] with correlated channels and neighbours, float64."""
    white = np.random.default_rng(3).normal(size=(6, *SHAPE))
    white[..., 1] += 0.5 * white[..., 0]
    return 1 + white + np.roll(white, 1, 1) + 0.5 * np.roll(white, 2, 2)


def field_of(images, **options):
    nothing = stationary_field.nothing(images.shape[1:], jnp.float64)
    return stationary_field.add(nothing, jnp.asarray(images), **options)


def dense(field, epsilon=0.0):
    """The covariance [HWC, HWC] entry by entry from the covariances at each lag."""
    height, width, c = SHAPE
    lags = np.asarray(field.covariance)
    places = [(i, j) for i in range(height) for j in range(width)]
    blocks = [[lags[(a - i) % height, (b - j) % width] for i, j in places] for a, b in places]
    return np.block(blocks) + epsilon * np.eye(height * width * c)


def test_covariance_at_each_lag_by_counting(x64, images):
    field = field_of(images, periodic=False)
    around = images - images.mean((0, 1, 2))
    for dy, dx in ((0, 0), (1, 0), (2, 5), (7, 8)):
        moved = np.roll(around, (-dy, -dx), (1, 2))
        expected = np.mean(moved[..., :, None] * around[..., None, :], (0, 1, 2))
        np.testing.assert_allclose(field.covariance[dy, dx], expected, atol=1e-12)


def test_images_in_parts_are_those_at_once(x64, images):
    whole = field_of(images)
    parts = stationary_field.add(field_of(images[:2]), jnp.asarray(images[2:]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), whole, parts)


@pytest.mark.parametrize(("count", "epsilon"), [(6, 0.3), (1, 0.3)])
def test_log_prob_is_the_dense_normals(x64, images, count, epsilon):
    field = field_of(images[:count])
    mean = np.broadcast_to(np.asarray(field.mean), SHAPE).ravel()
    full = scipy.stats.multivariate_normal(mean, dense(field, epsilon))
    log_p = stationary_field.log_prob(field, jnp.asarray(images), epsilon)
    np.testing.assert_allclose(log_p, full.logpdf(images.reshape(6, -1)), rtol=1e-9)


@pytest.mark.parametrize("size", [None, (11, 14), (5, 4)])
def test_samples_have_the_covariance(key, x64, images, size):
    """Whitened by the dense covariance where the size is the field's; else variance and mean."""
    field = field_of(images, periodic=False)
    drawn = np.asarray(stationary_field.sample(key, field, 3000, size))
    if size is None:
        values, vectors = np.linalg.eigh(dense(field))
        kept = values > 1e-9 * values.max()
        flat = (drawn - np.asarray(field.mean)).reshape(3000, -1)
        z = (flat @ vectors[:, kept]) / np.sqrt(values[kept])
    else:
        assert drawn.shape == (3000, *size, 2)
        z = (drawn[:, 2, 1] - np.asarray(field.mean)) @ np.linalg.inv(
            np.linalg.cholesky(field.covariance[0, 0])
        ).T
    law = scipy.stats.chi2(z.size)
    p_value = lambda scale: 2 * min(f(scale * np.sum(z**2)) for f in (law.cdf, law.sf))
    assert p_value(1.0) > FALSE_ALARM
    assert size or p_value(1.05) < FALSE_ALARM
    assert abs(z.mean()) * np.sqrt(z.size) < scipy.stats.norm.isf(FALSE_ALARM / 2)


def test_of_one_image_it_is_spot_noise(x64, images, key):
    """The same spectrum: the spot's at every frequency and pair of channels."""
    field = field_of(images[:1])
    drawn = np.asarray(asymptotic_discrete_spot_noise(key, jnp.asarray(images[0]), 20_000))
    around = drawn - np.asarray(field.mean)
    for dy, dx in ((0, 0), (1, 0), (0, 2)):
        products = np.roll(around, (-dy, -dx), (1, 2))[:, 3, 4, :, None] * around[:, 3, 4, None]
        error = products.std(0) / np.sqrt(len(products))
        assert np.all(np.abs(products.mean(0) - field.covariance[dy, dx]) < 5.5 * error)


def test_as_a_model():
    digits = data.load("digits")["x"]
    model = stationary_field.stationary_field(shape=(8, 8, 1), transform=data.to_unit())
    key = jax.random.key(0)
    state, metrics = model.step(key, model.init(key, {"x": digits[:4]}), {"x": digits[:200]})
    assert float(metrics["variance"]) > 0.01
    assert model.sample(key, state, 3, size=(20, 13)).shape == (3, 20, 13, 1)
    nats = model.log_prob(key, state, digits[:5])
    assert nats.shape == (5,)
    assert np.isfinite(nats).all()
    single = model.sample(key, state, 1)
    np.testing.assert_array_equal(single[0], model.sample(key, state, 4)[0])


@pytest.mark.parametrize("shape", [(2,), (7, 8, 1)])
def test_bad_shapes(shape):
    with pytest.raises(ConfigError, match="is no texture"):
        stationary_field.stationary_field(shape=shape)
