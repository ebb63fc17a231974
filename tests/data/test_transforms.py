"""Laws over TRANSFORMS: the log-determinant is autodiff's, levels survive, uniform costs 8 bits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax.data import TRANSFORMS, binarize, chain, dequantize, logit, standardize, to_symmetric
from gen_jax.data.transforms import bin_centres, identity, symmetric_images, to_unit
from gen_jax.errors import ConfigError, DataError

IMAGES = {"dequantize", "to_unit", "bin_centres", "binarize", "stochastic_binarize"} | {
    "symmetric_images"
}
UNIT = {"to_symmetric", "logit"}
REAL = {"identity"}
CONTINUOUS = {
    "identity": (identity(), (-3.0, 3.0)),
    "to_symmetric": (to_symmetric(), (0.0, 1.0)),
    "logit": (logit(), (0.01, 0.99)),
    "small_alpha": (logit(1e-6), (0.01, 0.99)),
    "scalar": (standardize(0.3, 2.5), (-3.0, 3.0)),
    "per_dimension": (standardize((0.1, -2.0), (0.5, 3.0)), (-3.0, 3.0)),
    "chain": (chain(to_symmetric(), standardize(0.1, 0.7)), (0.0, 1.0)),
    "squeezed": (chain(logit(0.2), standardize((0.5, 0.1), (2.0, 0.3))), (0.01, 0.99)),
}
LEVELS = jnp.arange(256, dtype=jnp.uint8)


def domain(name, key, shape=(6, 4, 4, 1)):
    if name in IMAGES:
        return jax.random.randint(key, shape, 0, 256).astype(jnp.uint8)
    return jax.random.uniform(key, shape)


def test_every_transform_has_a_domain():
    assert TRANSFORMS.keys() == IMAGES | UNIT | REAL


@pytest.mark.parametrize("name", CONTINUOUS)
def test_log_det_is_that_of_the_jacobian(name, key, x64):
    transform, (low, high) = CONTINUOUS[name]
    x = jax.random.uniform(key, (5, 3, 2), minval=low, maxval=high)
    u = transform.encode(key, x)
    assert jnp.allclose(transform.decode(u), x, rtol=0, atol=1e-6)  # alpha = 1e-6 is in float64

    def flat(row):
        return transform.encode(key, row.reshape(1, 3, 2)).ravel()

    jacobians = jax.vmap(jax.jacfwd(flat))(x.reshape(5, 6))
    exact = jnp.linalg.slogdet(jacobians)[1]
    np.testing.assert_allclose(transform.log_det(u), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_examples_do_not_depend_on_their_batch(name, key):
    transform, x = TRANSFORMS[name](), domain(name, key)
    u = transform.encode(key, x)
    np.testing.assert_array_equal(transform.encode(key, x[:2]), u[:2])
    own = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(6))
    np.testing.assert_array_equal(transform.encode(own, x), u)
    np.testing.assert_array_equal(transform.encode(own[3:4], x[3:4]), u[3:4])
    assert transform.log_det(u).shape == (6,)
    np.testing.assert_array_equal(transform.log_det(u)[2:3], transform.log_det(u[2:3]))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_traces_once_and_jit_agrees(name, key, count_traces):
    transform, x = TRANSFORMS[name](), domain(name, key)
    encode = count_traces(transform.encode)
    jitted = jax.jit(encode)
    u = transform.encode(key, x)
    np.testing.assert_allclose(jitted(key, x), u, rtol=1e-6, atol=1e-6)
    jitted(jax.random.key(5), x)
    assert encode.calls == 1
    np.testing.assert_allclose(jax.jit(transform.decode)(u), transform.decode(u), atol=1e-6)
    assert transform.decode(u).dtype == x.dtype


@pytest.mark.parametrize(
    "transform",
    [
        dequantize(),
        bin_centres(),
        to_unit(),
        symmetric_images(),
        chain(to_unit(), standardize(-0.3, 0.7)),
        chain(dequantize(), logit(0.05)),
        chain(dequantize(), logit(1e-6), standardize(0.2, 3.0)),
    ],
)
def test_all_256_values_survive(transform):
    x = jnp.tile(LEVELS, (2000, 1))  # 512,000 draws of noise, each a chance to cross an edge
    back = jax.jit(lambda key, x: transform.decode(transform.encode(key, x)))(jax.random.key(0), x)
    assert back.dtype == jnp.uint8
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("alpha", [0.05, 1e-6, 1e-7, 1e-8, 1e-20, 2e-38])
def test_logit_of_any_alpha_at_both_ends(alpha, key):
    """Against float64, where s of the complement is exact; at 1 and next to it too."""
    below = np.nextafter(np.float32(1), np.float32(0))
    x = np.array([[0.0, 1e-9, 0.25, 0.5, 0.75, 0.999999, below, 1.0]], np.float32)
    wide, scale = x.astype(np.float64), 1 - 2 * alpha
    truth = np.log(alpha + scale * wide) - np.log(alpha + scale * (1 - wide))
    transform = logit(alpha)
    u = np.asarray(transform.encode(key, jnp.asarray(x)))
    np.testing.assert_allclose(u, truth, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(transform.decode(jnp.asarray(u)), x, atol=3e-7)
    log_s, log_rest = -np.logaddexp(0, -truth), -np.logaddexp(0, truth)
    exact_det = np.log(scale) - log_s - log_rest
    np.testing.assert_allclose(transform.log_det(jnp.asarray(u)), exact_det.sum(1), rtol=1e-5)


def test_logit_of_half_precision(key):
    """float16 holds no 1e-8: the ends were infinite."""
    transform, x = logit(1e-8), jnp.array([[0.0, 0.25, 1.0]], jnp.float16)
    u = transform.encode(key, x)
    end = np.log1p(-1e-8) - np.log(1e-8)
    np.testing.assert_allclose(u, [[-end, np.log(1 / 3), end]], rtol=1e-6)
    np.testing.assert_allclose(transform.decode(u), x, rtol=1e-6)


@pytest.mark.parametrize("levels", [2, 17, 31, 100, 256])
def test_any_number_of_levels_survives(levels, key):
    x = jnp.tile(jnp.arange(levels, dtype=jnp.uint8), (2000, 1))
    transform = chain(dequantize(levels), to_symmetric())
    np.testing.assert_array_equal(transform.decode(transform.encode(key, x)), x)


@pytest.mark.parametrize(
    ("transform", "log_density"),
    [
        (dequantize(), lambda u: jnp.zeros(u.shape[0])),
        (symmetric_images(), lambda u: jnp.full(u.shape[0], -u[0].size * math.log(2))),
        (
            chain(dequantize(), logit(0.05)),  # what u has when the dequantised data are uniform
            lambda u: jnp.sum(
                jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u) - math.log(0.9), (1, 2, 3)
            ),
        ),
    ],
)
def test_uniform_model_costs_eight_bits(transform, log_density, key):
    x = jax.random.randint(key, (4, 28, 28, 1), 0, 256).astype(jnp.uint8)
    u = transform.encode(key, x)
    bits = -(log_density(u) + transform.log_det(u)) / (784 * math.log(2))
    np.testing.assert_allclose(bits, 8, rtol=2e-6)


def test_dequantize_noise_is_uniform(key):
    """Kolmogorov-Smirnov on 65,536 draws, false alarm 1e-6; the planted twin is triangular."""
    x = jnp.tile(LEVELS, (256, 1))
    noise = np.asarray(dequantize().encode(key, x) * 256 - x).ravel()
    assert noise.min() > 0
    assert noise.max() < 1
    assert stats.kstest(noise, "uniform").pvalue > 1e-6
    assert stats.kstest((noise + noise[::-1]) / 2, "uniform").pvalue < 1e-6


def test_to_unit_spans_the_unit_interval(key):
    u = to_unit().encode(key, LEVELS[None])
    assert float(u[0, 0]) == 0
    assert float(u[0, 255]) == 1
    assert to_unit().decode(jnp.array([-0.3, 1.7])).tolist() == [0, 255]


def test_decoding_clips():
    wild = jnp.array([[-1e9, -0.1, 0.5, 1.0, 1e9]])
    assert dequantize().decode(wild).tolist() == [[0, 0, 128, 255, 255]]
    assert symmetric_images().decode(2 * wild - 1).tolist() == [[0, 0, 128, 255, 255]]
    assert binarize().decode(wild).tolist() == [[0, 0, 255, 255, 255]]


def test_binarize_threshold(key):
    u = binarize(threshold=0.5).encode(key, LEVELS[None])
    np.testing.assert_array_equal(u[0], np.arange(256) >= 128)


def test_stochastic_binarize_has_the_grey_level_as_mean(key):
    """10,000 draws per level: |z| < 5.5 for 254 levels, false alarm 1e-5."""
    u = np.asarray(binarize(stochastic=True).encode(key, jnp.tile(LEVELS, (10_000, 1))))
    mean, p = u.mean(0), np.arange(256) / 255
    assert mean[0] == 0
    assert mean[255] == 1
    z = (mean - p)[1:-1] / np.sqrt(p * (1 - p) / 10_000)[1:-1]
    assert np.abs(z).max() < 5.5


def test_stages_of_a_chain_have_their_own_noise(key):
    """A stochastic map twice in a chain must not see the same numbers."""
    noisy = dequantize()._replace(
        encode=lambda k, x: x + jax.vmap(lambda one: jax.random.normal(one, x.shape[1:]))(k),
    )
    x = jnp.zeros((2000, 1))
    total = chain(noisy, noisy).encode(key, x)
    # variance 2 if independent, 4 if the key is used twice: 2000 draws tell them far apart
    assert 1.5 < float(total.var()) < 2.5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda k: dequantize().encode(k, jnp.zeros((2, 3))), DataError, "float32"),
        (lambda k: dequantize(16).encode(k, jnp.full((2, 3), 16, jnp.uint8)), DataError, "16"),
        (lambda k: dequantize(1), ConfigError, "levels=1"),
        (lambda k: dequantize(300), ConfigError, "levels=300"),
        (lambda k: to_unit().encode(k, jnp.zeros((2, 3), jnp.int32)), DataError, "int32"),
        (lambda k: binarize().encode(k, jnp.ones((2, 3))), DataError, "float32"),
        (lambda k: binarize(threshold=2.0), ConfigError, "threshold=2"),
        (lambda k: to_symmetric().encode(k, LEVELS[None]), DataError, "uint8"),
        (lambda k: to_symmetric().encode(k, jnp.array([[0.0, 1.5]])), DataError, "1.5"),
        (lambda k: logit().encode(k, jnp.array([[jnp.nan, 0.5]])), DataError, "nan"),
        (lambda k: logit(0.0), ConfigError, "alpha=0.0"),
        (lambda k: logit(1e-40), ConfigError, "alpha=1e-40"),
        (lambda k: logit(0.7), ConfigError, "alpha=0.7"),
        (lambda k: standardize(0.0, 0.0), DataError, "std"),
        (
            lambda k: standardize((0.0, 0.0), (1.0, 1.0)).encode(k, jnp.ones((2, 3))),
            DataError,
            "(2, 3)",
        ),
        (lambda k: standardize(0.0, 1.0).encode(k, LEVELS[None]), DataError, "uint8"),
    ],
)
def test_bad_data_are_refused_at_the_door(call, error, words, key):
    with pytest.raises(error) as caught:
        call(key)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_dtype_is_refused_under_jit(key):
    with pytest.raises(DataError, match="float32"):
        jax.jit(dequantize().encode)(key, jnp.zeros((2, 3)))
