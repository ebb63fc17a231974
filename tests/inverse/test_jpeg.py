"""JPEG's quantisation: idempotent, and that of Pillow's files up to its rounding of pixels."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gen_jax import inverse
from gen_jax.inverse import jpeg
from gen_jax.paths import linear


def smooth(shape, seed=0):
    """A smooth image in [-0.6, 0.6]."""
    phases = np.random.default_rng(seed).uniform(0, 6, (3, shape[2]))
    i, j = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
    return (0.6 * np.sin(i / 4 + phases[0]) * np.cos(j / 5 + phases[1])).astype(np.float32)


@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 7, 1), (16, 24, 3)])
@pytest.mark.parametrize("quality", [5, 75])
def test_idempotent(shape, quality):
    operator = jpeg(shape, quality)
    y = operator.apply(jnp.asarray(smooth(shape)))
    again = operator.apply(operator.pseudo_inverse(y))
    np.testing.assert_allclose(again, y, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_decoded_image_is_pillows(channels):
    """Pillow also rounds pixels and colours to 256 levels; another quality is further off."""
    image, quality = smooth((16, 24, channels)), 60
    levels = np.round(127.5 * (image + 1)).astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(levels.squeeze())
    picture.save(file, "JPEG", quality=quality, subsampling=0)
    expected = np.asarray(Image.open(file), np.float64).reshape(16, 24, channels)
    given = levels.astype(np.float32) / 127.5 - 1

    def difference(quality):
        operator = jpeg(image.shape, quality)
        found = operator.pseudo_inverse(operator.apply(given))
        return np.abs(127.5 * (np.asarray(found) + 1) - expected).mean()

    lost = np.abs(levels - expected).mean()
    assert difference(quality) < 0.4 * lost
    assert difference(quality - 15) > 0.6 * lost


def test_derivative_passes_the_rounding():
    operator = jpeg((8, 8, 1), 50)
    gradient = jax.grad(lambda x: operator.apply(x)[0, 0, 0])(jnp.zeros((8, 8, 1)))
    np.testing.assert_allclose(gradient, 1 / 8, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 8, 3)])
def test_rounding_has_the_deviation_that_the_operator_names(shape):
    """Of coefficients spread over many steps; y is rounded as the derivative does not see."""
    operator = jpeg(shape, 90)
    x = np.random.default_rng(0).uniform(-40, 40, (4000, *shape)).astype(np.float32)
    smooth_part = jax.linearize(operator.apply, jnp.zeros(shape))[1]
    offset = smooth_part(jnp.full(shape, -1 / 255))
    errors = operator.apply(x) - jax.vmap(smooth_part)(x) - offset
    found = np.asarray(errors, np.float64).std(0)
    np.testing.assert_allclose(found, operator.rounding_std, rtol=0.08)


def test_likelihoods_count_the_rounding_as_noise():
    """A rounded dense map is guided as the map itself with the two variances added."""
    matrix = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], np.float32)
    rounding = np.array([0.3, 0.8], np.float32)
    dense = inverse.dense(matrix)
    rounded = inverse.Operator((3,), (2,), dense.apply, dense.pseudo_inverse, rounding)
    denoise = lambda x, t: 0.7 * x
    x, y, t = jnp.ones((4, 3)), jnp.arange(2.0), jnp.full(4, 0.5)
    found = inverse.dps(denoise, linear(), rounded, y, 0.4)(x, t)
    residual = np.asarray(y) - 0.7 * matrix @ np.ones(3)
    step = 0.5**2 / 0.5 * 0.7 * matrix.T @ (residual / (0.4**2 + rounding**2))
    np.testing.assert_allclose(found, 0.7 + np.tile(step, (4, 1)), rtol=1e-5)
    density = inverse.latent_log_density(lambda z: z, rounded, y, 0.4)(jnp.ones((1, 3)))
    weighed = (np.asarray(y) - matrix @ np.ones(3)) ** 2 / (0.4**2 + rounding**2)
    np.testing.assert_allclose(density[0], -1.5 - 0.5 * weighed.sum(), rtol=1e-5)
    plain = inverse.dps(denoise, linear(), rounded._replace(rounding_std=0.0), y, 0.4)(x, t)
    np.testing.assert_allclose(plain, inverse.dps(denoise, linear(), dense, y, 0.4)(x, t))
