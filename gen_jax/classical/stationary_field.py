"""A stationary Gaussian field on the torus, estimated from images, as a `GenerativeModel`.

The covariance of two pixels depends on their distance alone: c(y) = E (f(x + y) - m) (f(x) - m)^T.
Its Fourier transform S(w) [C, C] is the spectrum, so the density factorises over frequencies. From
one image it is the law of galerne2011's asymptotic discrete spot noise; from several, c and S are
averages.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import no_type_check
from gen_jax.classical import moments
from gen_jax.classical.moments import blend
from gen_jax.classical.texture import (
    AXES,
    SMALLEST,
    check_texture,
    checked_size,
    periodic_plus_smooth,
)
from gen_jax.data_units import (
    check_data,
    density_kind,
    log_prob_in_units,
    to_data,
    to_model_floats,
)
from gen_jax.errors import ConfigError, DataError, check_shape
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.randomness import sample_keys
from gen_jax.ranges import Positive, check_ranges, options_from
from gen_jax.sampling.gaussian import LOG_2_PI
from gen_jax.types import Array, Batch, Complex, Float, Int, Key, Metrics, State

LAGS = (0, 1)


class Field(NamedTuple):
    """Of `size` images so far: mean [C] and covariance at each lag [H, W, C, C]."""

    size: Int[Array, ""]
    mean: Float[Array, "C"]
    covariance: Float[Array, "H W C C"]


def nothing(shape: tuple[int, int, int], dtype=jnp.float32) -> Field:
    """The field of no image."""
    c = shape[2]
    return Field(jnp.int32(0), jnp.zeros(c, dtype), jnp.zeros((*shape, c), dtype))


@floats(images="B H W C")
def add(field: Field, images: Float[Array, "B H W C"], periodic: bool = True) -> Field:
    """The field with images added; `periodic` takes their periodic components."""
    check_texture(images)
    x = periodic_plus_smooth(images)[0] if periodic else images
    mean = x.mean((0, 1, 2))
    waves = jnp.fft.fft2(x - mean, axes=AXES)
    power = jnp.einsum("bhwi,bhwj->hwij", waves, waves.conj(), precision="highest")
    covariance = jnp.fft.ifft2(power, axes=LAGS).real / math.prod(x.shape[:3])
    size = field.size + x.shape[0]
    share = x.shape[0] / size.astype(x.dtype)
    return Field(size, *blend(field.mean, field.covariance, mean, covariance, share))


def spectrum(
    field: Field,
) -> tuple[Float[Array, "H W C"], Complex[Array, "H W C C"]]:
    """Eigenvalues, at least 0, and eigenvectors of S(w) at each frequency."""
    power = jnp.fft.fft2(field.covariance, axes=LAGS)
    values, vectors = jnp.linalg.eigh((power + power.conj().swapaxes(2, 3)) / 2)
    return jnp.maximum(values, 0), vectors


def texton(field: Field) -> Float[Array, "H W C C"]:
    """The symmetric kernel whose convolution with white noise is the field: S^1/2 in space."""
    values, vectors = spectrum(field)
    root = (vectors * jnp.sqrt(values)[:, :, None]) @ vectors.conj().swapaxes(2, 3)
    return jnp.fft.ifft2(root, axes=LAGS).real


def sample(
    key: Key[Array, "*batch"], field: Field, n: int, size: int | tuple[int, int] | None = None
) -> Float[Array, "n H2 W2 C"]:
    """Fields of any size: a larger one sees the texton set into zeros, a smaller one is cut out."""
    height, width, channels = field.covariance.shape[:3]
    wanted = checked_size(size, (height, width))
    full = max(wanted[0], height), max(wanted[1], width)
    centred = jnp.fft.fftshift(texton(field), axes=LAGS)
    kernel = jnp.pad(centred, ((0, full[0] - height), (0, full[1] - width), (0, 0), (0, 0)))
    kernel = jnp.fft.fft2(jnp.roll(kernel, (-(height // 2), -(width // 2)), LAGS), axes=LAGS)

    def one(key):
        noise = jax.random.normal(key, (*full, channels), field.mean.dtype)
        waves = jnp.einsum("hwij,hwj->hwi", kernel, jnp.fft.fft2(noise, axes=AXES))
        return field.mean + jnp.fft.ifft2(waves, axes=AXES).real

    return jax.vmap(one)(sample_keys(key, n))[:, : wanted[0], : wanted[1]]


@floats(x="N H W C")
def log_prob(field: Field, x: Float[Array, "N H W C"], epsilon: float = 0.0) -> Float[Array, "N"]:
    """log p(x) in nats of the field plus white noise of variance epsilon, frequency by frequency.

    From one image in colour, or with any frequency absent, it exists for epsilon > 0 only: else
    DataError, but under jit, where values cannot be looked at, numbers that are not finite.
    """
    values, vectors = spectrum(field)
    absent = epsilon == 0 and not isinstance(values, jax.core.Tracer)
    if absent and not jnp.min(values) > 1e-10 * jnp.max(values):
        raise DataError("the field has frequencies without variance (give epsilon > 0)")
    values = values + epsilon
    waves = jnp.fft.fft2(x - field.mean, axes=AXES, norm="ortho")
    along = jnp.einsum("hwij,nhwi->nhwj", vectors.conj(), waves, precision="highest")
    square = jnp.sum(jnp.abs(along) ** 2 / values, (1, 2, 3))
    return -0.5 * (square + jnp.log(values).sum() + values.size * LOG_2_PI)


class Options(NamedTuple):
    """Options of `stationary_field`.

    Fields:
      shape: of one image after the transform, [H, W, C].
      epsilon: variance of the white noise added, in units of the transformed data.
      periodic: estimate from periodic components.
      transform: `data.Transform`; its noise makes `log_prob` that of the dequantised data.
    """

    shape: tuple[int, ...]
    epsilon: Positive = 1e-4
    periodic: bool = True
    transform: Any = None


class Parts(NamedTuple):
    """What a field's updates, samples and densities are made of."""

    options: Options


@no_type_check
def make_parts(options: Options) -> Parts:
    """The parts of a model. Raises ConfigError for points and for images under 8 pixels."""
    check_ranges(options)
    shape = check_shape("shape", options.shape)
    if len(shape) != 3 or min(shape[:2]) < SMALLEST:
        raise ConfigError(f"shape={shape} is no texture: [H, W, C] with at least 8 x 8 pixels")
    return Parts(options._replace(shape=shape))


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch) -> Field:
    """The field of no image."""
    options = parts.options
    what = f"less than the root of epsilon={options.epsilon:g}, the added noise's variance"
    warn = lambda u: moments.warn_small(u, options.epsilon**0.5, what)
    check_data(options, batch["x"], warn)
    h, w, c = options.shape
    return nothing((h, w, c), to_model_floats(options, key, batch["x"]).dtype)


def step(parts: Parts, key: Key[Array, ""], state: Field, batch: Batch) -> tuple[Field, Metrics]:
    """The field with a batch of images added."""
    options = parts.options
    state = add(state, to_model_floats(options, key, batch["x"]), options.periodic)
    return state, {"variance": jnp.trace(state.covariance[0, 0]) / options.shape[2]}


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: Field,
    n: int,
    *,
    size: int | tuple[int, int] | None = None,
) -> Array:
    """Fields [n, H2, W2, C] of any size in data units."""
    options = parts.options
    white = options.epsilon * jnp.eye(options.shape[2], dtype=state.mean.dtype)
    noisy = state._replace(covariance=state.covariance.at[0, 0].add(white))
    u = sample(key, noisy, n, size)
    return to_data(options._replace(shape=u.shape[1:]), u)


def log_density(
    parts: Parts, key: Key[Array, "*batch"], state: Field, x: Array
) -> Float[Array, "B"]:
    """log p(x) [B] in nats and data units."""
    options = parts.options
    return log_prob_in_units(options, lambda u: log_prob(state, u, options.epsilon), key, x)


def fitted_field(model: GenerativeModel, state: State) -> Field:
    """Mean and covariances of a `stationary_field`, after the transform, without the white noise.

    Raises ConfigError for another model.
    """
    return parts_of(model, state, Parts)[1]


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    options = parts.options
    model = assemble(
        parts,
        init_state,
        step,
        draw_samples,
        log_density,
        density_kind(partial(to_data, options), options.shape),
        parameters=lambda state: (state.mean, state.covariance),
    )
    return compiled(model, encode=partial(to_model_floats, options))


@no_type_check
def stationary_field(**options) -> GenerativeModel:
    """A stationary Gaussian field; a `step` adds a batch of images, `sample` takes `size`.

    `options` are the fields of `Options`. Raises ConfigError for points and for images under 8
    pixels.
    """
    return model_from_parts(make_parts(options_from(Options, options)))
