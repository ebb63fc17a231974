"""Textures: the periodic component's property, mean and power spectrum of samples, any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.classical import SYNTHESES, periodic_plus_smooth, random_phase_noise
from gen_jax.classical import texture as textures
from gen_jax.errors import ConfigError, DataError

FALSE_ALARM = 5e-7
SHAPE = (16, 12, 3)


def image(shape=SHAPE):
    """Correlated channels with a slope, which is not periodic."""
    random = np.random.default_rng(2)
    rows, columns = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    waves = np.sin(2 * np.pi * rows / 7)[..., None] + 0.1 * columns[..., None]
    return 0.5 + 0.1 * waves + 0.1 * random.normal(size=shape) @ random.normal(size=(shape[2],) * 2)


def test_periodic_and_smooth_sum_to_the_image(x64):
    """The smooth part has mean 0, and its periodic Laplacian is the jump across the border."""
    x = image()
    periodic, smooth = periodic_plus_smooth(jnp.asarray(x))
    np.testing.assert_allclose(periodic + smooth, x, atol=1e-14)
    np.testing.assert_allclose(smooth.mean((0, 1)), 0, atol=1e-14)
    around = sum(np.roll(smooth, shift, axis) for axis in (0, 1) for shift in (1, -1))
    jumps = np.zeros_like(x)
    for axis in (0, 1):
        first = np.take(x, 0, axis)
        last = np.take(x, -1, axis)
        index = [slice(None)] * 2
        for end, value in ((0, last - first), (-1, first - last)):
            index[axis] = end
            jumps[tuple(index)] += value
    np.testing.assert_allclose(around - 4 * np.asarray(smooth), jumps, atol=1e-12)
    assert np.abs(jumps[1:-1, 1:-1]).max() == 0


def test_a_periodic_image_has_no_smooth_part(x64):
    """But for what its own steps from the last to the first pixel are: none for a constant."""
    flat = jnp.full((8, 9, 1), 0.3)
    np.testing.assert_allclose(periodic_plus_smooth(flat)[1], 0, atol=1e-15)
    slope = jnp.broadcast_to(jnp.arange(32.0)[:, None, None], (32, 32, 1))
    periodic, _ = periodic_plus_smooth(slope)
    jump = lambda x: float(jnp.abs(x[-1] - x[0]).mean())
    assert jump(periodic) < 0.1 * jump(slope)


def test_random_phases_keep_every_modulus(x64):
    """Of each channel and of their products, so the colours; the mean is the image's."""
    x = jnp.asarray(image())
    drawn = random_phase_noise(jax.random.key(0), x, 2)
    periodic = periodic_plus_smooth(x)[0]
    waves, expected = (np.fft.fft2(np.asarray(a), axes=(-3, -2)) for a in (drawn, periodic))
    for i, j in ((0, 0), (1, 1), (0, 1), (0, 2)):
        product = waves[..., i] * waves[..., j].conj()
        truth = expected[..., i] * expected[..., j].conj()
        np.testing.assert_allclose(product[0], truth, atol=1e-8)
    np.testing.assert_allclose(drawn.mean((1, 2)), x.mean((0, 1))[None].repeat(2, 0), atol=1e-12)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1


def test_phases_are_uniform(key, x64):
    """Rayleigh's test at each independent frequency, and that of pairs of frequencies."""
    x = jnp.asarray(image((8, 8, 1)))
    drawn = np.asarray(random_phase_noise(key, x, 4000, periodic=False))[..., 0]
    phase = np.angle(np.fft.fft2(drawn)) - np.angle(np.fft.fft2(np.asarray(x)[..., 0]))
    turns = np.exp(1j * phase[:, :, 1:4].reshape(4000, -1))
    turns = np.concatenate([turns, turns[:, :-1] * turns[:, 1:], turns[:, :-1] / turns[:, 1:]], 1)
    resultant = np.abs(turns.sum(0)) ** 2 / 4000
    assert resultant.max() < -np.log(FALSE_ALARM / turns.shape[1])


def scores_of_spectrum(drawn, spectrum):
    """chi-square(2n) / 2 scores as p-values: |F|^2 / E|F|^2 is exponential at a free frequency."""
    power = np.abs(np.fft.fft2(drawn, axes=(1, 2))[:, 1:8, 1:6]) ** 2 / spectrum[1:8, 1:6]
    total, n = 2 * power.sum(0), 2 * len(drawn)
    law = scipy.stats.chi2(n)
    return 2 * np.minimum(law.cdf(total), law.sf(total)), law.cdf(2 * power.sum()), power


def inner_image():
    """0.5 but for a pattern of sum 0 in the middle, which no fading at the ends can touch."""
    pattern = 0.1 * np.random.default_rng(4).normal(size=(10, 8))
    x = np.full((16, 12, 1), 0.5)
    x[3:13, 2:10, 0] += pattern - pattern.mean()
    return x


FADED = 2 * 3 / 8 / 8 + 3 / 4
"""Mean square of a fading line: 1 inside, cos^2 over an eighth at each end (cos^4 averages 3/8)."""


@pytest.mark.parametrize("size", [None, (24, 20)])
def test_spot_noise_has_the_mean_and_the_spectrum(key, x64, size):
    """4,000 fields: each frequency's power and all together at 5e-7; 5 % more is seen.

    For a larger size, from an image whose spot is the image itself set into zeros, but for a scale.
    """
    x = jnp.asarray(image((16, 12, 1)) if size is None else inner_image())
    drawn = np.asarray(SYNTHESES["spot_noise"](key, x, 4000, size=size))[..., 0]
    mean = float(x.mean())
    around = np.asarray(periodic_plus_smooth(x)[0] if size is None else x)[..., 0] - mean
    kernel = around / np.sqrt(16 * 12) / (1.0 if size is None else FADED)
    pixels = drawn.shape[1] * drawn.shape[2]
    spectrum = np.abs(np.fft.fft2(kernel, s=size)) ** 2 * pixels
    each, _, power = scores_of_spectrum(drawn, spectrum)
    assert each.min() > FALSE_ALARM / each.size
    total = scipy.stats.chi2(2 * power.size)
    p_value = lambda scale: 2 * min(f(2 * scale * power.sum()) for f in (total.cdf, total.sf))
    assert p_value(1.0) > FALSE_ALARM
    assert p_value(1.05) < FALSE_ALARM
    z = (drawn[:, 0, 0] - mean) / np.sqrt(np.sum(kernel**2))
    assert abs(z.mean()) * np.sqrt(len(z)) < scipy.stats.norm.isf(FALSE_ALARM / 2)
    assert scipy.stats.kstest(z, "norm").pvalue > FALSE_ALARM


def test_a_larger_spot_keeps_the_variance_on_average(x64):
    """Over all translations exactly, which no single one does: the image fades at its ends."""
    x = jnp.asarray(image())
    spot = jax.jit(lambda i, j: textures.spot(jnp.roll(x, (i, j), (0, 1)), (40, 31))[1])
    rows, columns = np.meshgrid(np.arange(16), np.arange(12), indexing="ij")
    kernels = np.asarray(jax.vmap(spot)(rows.ravel(), columns.ravel()))
    assert kernels.shape == (16 * 12, 40, 31, 3)
    ratios = np.sum(kernels**2, (1, 2)) / np.asarray(x).var((0, 1))
    np.testing.assert_allclose(ratios.mean(0), 1, rtol=1e-12)
    assert np.all(ratios.std(0) > 0.02)
    window = np.sqrt(np.mean(kernels**2, (0, 3)))[:16, :12]
    middle, ends = window[2:14, 2:10], window[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(middle, middle[0, 0], rtol=1e-12)
    assert np.all(ends < 0.05 * middle[0, 0])


@pytest.mark.parametrize("size", [(16, 12), (8, 30), (30, 8), (3, 1), (20, 40)])
@pytest.mark.parametrize("name", SYNTHESES)
def test_any_size(name, size):
    x = jnp.asarray(image(), jnp.float32)
    drawn = SYNTHESES[name](jax.random.key(0), x, 2, size=size)
    assert drawn.shape == (2, *size, 3)
    assert np.isfinite(drawn).all()
    alone = SYNTHESES[name](jax.random.key(0), x, 1, size=size)
    np.testing.assert_allclose(alone[0], drawn[0], atol=1e-5)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.zeros((7, 30, 1)), {}, DataError, "7 x 30 pixels \\(at least 8 x 8\\)"),
        (np.full((9, 9, 1), np.nan), {}, DataError, "not finite"),
        (np.zeros((9, 9, 1)), {"size": (0, 9)}, ConfigError, "height=0"),
        (np.zeros((9, 9, 1)), {"size": (9, -2)}, ConfigError, "width=-2"),
    ],
)
def test_bad_input(x64, x, options, error, message):
    with pytest.raises(error, match=message):
        random_phase_noise(jax.random.key(0), jnp.asarray(x), **options)
