"""Maps between data units and what a model works with, with the change of density.

A transform is part of a model, so that samples come back in data units and

    log p(x) = log p_u(encode(x)) + log_det(u)        nats, data units,

where `log_det(u)` = log |du/dx| summed over all dimensions of one example, at the encoded u.
bits/dim = -log p(x) / (D ln 2) with no other constant: a uniform model over 256 values scores 8.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import as_rows
from gen_jax.checks import as_array, is_known, no_type_check
from gen_jax.errors import ConfigError, DataError, check_flag, check_range, shown
from gen_jax.randomness import fold_in, sample_keys

EDGE = 2.0**-13
"""Dequantisation noise keeps this far from 0 and 1, so that float32 rounding in later transforms
never carries a value over into the next level."""


class Transform(NamedTuple):
    """Encode data for a model and decode what it produces.

    Fields:
      encode: `(key, x [B, ...]) -> u [B, ...]`; `key` is one key, or one per example [B], so that
        an example's noise does not depend on its batch.
      decode: `u [B, ...] -> x [B, ...]`, data units and dtype; values outside are clipped.
      log_det: `u [B, ...] -> [B]`, log |du/dx| in nats.
    """

    encode: Callable
    decode: Callable
    log_det: Callable


def _per_example(value: float) -> Callable:
    """The log-determinant of a map that scales every dimension by exp(value)."""
    return lambda u: jnp.full(u.shape[:1], value * math.prod(u.shape[1:]), jnp.float32)


def _check(name: str, x, kind: type, low: float | None = None, high: float | None = None) -> None:
    """Raise DataError unless x has the dtype kind and, when its values are known, lies in range."""
    if not jnp.issubdtype(x.dtype, kind):
        wanted = "uint8" if kind is jnp.uint8 else "floating point"
        raise DataError(f"{name}: data of dtype {x.dtype} (expected {wanted})")
    if x.ndim == 0:
        raise DataError(f"{name}: data of shape () (expected a batch [B, ...])")
    if low is None or high is None or not is_known(x) or x.size == 0:
        return
    values = np.asarray(x)
    found = float(values.min()), float(values.max())
    if not low <= found[0] <= found[1] <= high:  # also refuses NaN
        raise DataError(
            f"{name}: data in [{found[0]:g}, {found[1]:g}] (expected [{low:g}, {high:g}])"
        )


def identity() -> Transform:
    """u = x."""
    return Transform(lambda key, x: x, lambda u: u, _per_example(0.0))


@no_type_check
def dequantize(levels: int = 256) -> Transform:
    """Uniform dequantisation: u = (x + U) / levels in [0, 1), decode = floor(levels u) as uint8.

    log p(x) is then a lower bound of the log-probability of the discrete x, in expectation over U
    (theis2016, sec. 3.1). Raises DataError if x is not uint8, or has values >= levels.
    """
    check_range("levels", levels, 2, 256, integer=True)

    def encode(key, x):
        _check("dequantize", x, jnp.uint8, 0.0, levels - 1.0)
        draw = lambda k: jax.random.uniform(k, x.shape[1:], jnp.float32)
        noise = jax.vmap(draw)(sample_keys(key, x.shape[0]))
        return (x + jnp.clip(noise, EDGE, 1 - EDGE)) / levels

    def decode(u):
        return jnp.clip(jnp.floor(u * levels), 0, levels - 1).astype(jnp.uint8)

    return Transform(encode, decode, _per_example(-math.log(levels)))


@no_type_check
def bin_centres(levels: int = 256) -> Transform:
    """u = (2 x + 1) / levels - 1, the centres of bins of width 2 / levels in [-1, 1], as uint8.

    For models that give the probability of each value, not a density: `log_det` is 0. Raises
    DataError if x is not uint8, or has values >= levels.
    """
    check_range("levels", levels, 2, 256, integer=True)

    def encode(key, x):
        _check("bin_centres", x, jnp.uint8, 0.0, levels - 1.0)
        return (x.astype(jnp.float32) + 0.5) * (2 / levels) - 1

    def decode(u):
        return jnp.clip(jnp.floor((u + 1) * (levels / 2)), 0, levels - 1).astype(jnp.uint8)

    return Transform(encode, decode, _per_example(0.0))


@no_type_check
def integers(levels: int = 256) -> Transform:
    """u = x as int32, for models of the levels themselves; decode gives uint8.

    Raises DataError if x is not uint8, or has values >= levels.
    """
    check_range("levels", levels, 2, 256, integer=True)

    def encode(key, x):
        _check("integers", x, jnp.uint8, 0.0, levels - 1.0)
        return x.astype(jnp.int32)

    decode = lambda u: jnp.clip(u, 0, levels - 1).astype(jnp.uint8)
    return Transform(encode, decode, _per_example(0.0))


def to_symmetric() -> Transform:
    """[0, 1] -> [-1, 1], u = 2 x - 1."""

    def encode(key, x):
        _check("to_symmetric", x, jnp.floating, 0.0, 1.0)
        return 2 * x - 1

    return Transform(encode, lambda u: jnp.clip((u + 1) / 2, 0, 1), _per_example(math.log(2)))


def to_unit() -> Transform:
    """uint8 -> [0, 1] without noise, u = x / 255; decode rounds and clips to uint8.

    `log_det` is -D log 255: it turns a density on [0, 1] into a density per grey level. For data
    that are discrete that is no probability and has no bound: use `dequantize` for bits/dim.
    """

    def encode(key, x):
        _check("to_unit", x, jnp.uint8)
        return x.astype(jnp.float32) / 255

    def decode(u):
        return jnp.clip(jnp.round(u * 255), 0, 255).astype(jnp.uint8)

    return Transform(encode, decode, _per_example(-math.log(255)))


@no_type_check
def binarize(stochastic: bool = False, threshold: float = 0.5) -> Transform:
    """uint8 -> {0.0, 1.0}: x / 255 >= threshold, or Bernoulli(x / 255) (salakhutdinov2008).

    decode gives 0 or 255. `log_det` is 0: log p is the log-probability of the binary image, not
    comparable with that of the grey one.
    """
    check_flag("stochastic", stochastic)
    check_range("threshold", threshold, 0.0, 1.0)

    def encode(key, x):
        _check("binarize", x, jnp.uint8)
        draw = lambda k: jax.random.uniform(k, x.shape[1:], jnp.float32)
        level = jax.vmap(draw)(sample_keys(key, x.shape[0])) if stochastic else threshold
        # U < x / 255 has probability x / 255, also at 0 and 255; the threshold itself counts as 1
        grey = x.astype(jnp.float32) / 255
        return (grey > level if stochastic else grey >= level).astype(jnp.float32)

    def decode(u):
        return jnp.where(u >= 0.5, 255, 0).astype(jnp.uint8)

    return Transform(encode, decode, _per_example(0.0))


@no_type_check
def logit(alpha: float = 0.05) -> Transform:
    """[0, 1] -> R: u = log s - log(1 - s) with s = alpha + (1 - 2 alpha) x (dinh2017, sec. 4.1).

    log |du/dx| = log(1 - 2 alpha) - log s - log(1 - s), the squeeze included. alpha lies between
    1.2e-38, below which float32 holds no full number, and 0.5.
    """
    check_range("alpha", alpha, float(np.finfo(np.float32).tiny), 0.499)
    scale = 1 - 2 * alpha

    def encode(key, x):
        _check("logit", x, jnp.floating, 0.0, 1.0)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # half precision loses a small alpha
        # 1 - s from the complement of x: near 1 s itself has lost a small alpha.
        return jnp.log(alpha + scale * x) - jnp.log(alpha + scale * (1 - x))

    def decode(u):
        return jnp.clip((jax.nn.sigmoid(u) - alpha) / scale, 0, 1)

    def log_det(u):
        terms = math.log(scale) + jax.nn.softplus(u) + jax.nn.softplus(-u)
        return as_rows(terms).sum(-1)

    return Transform(encode, decode, log_det)


@no_type_check
def standardize(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """u = (x - mean) / std; scalars, or one value per entry of the last axis.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import data
    >>> metres = data.standardize(mean=(10.0, 20.0), std=(2.0, 5.0))
    >>> metres.decode(jnp.array([[0.0, 1.0]])).tolist()
    [[10.0, 25.0]]
    """
    center, spread = (
        np.asarray(as_array(f"standardize: {name}", value, finite=False), np.float32)
        for name, value in (("mean", mean), ("std", std))
    )
    if not (spread > 0).all() or not np.isfinite(center).all() or not np.isfinite(spread).all():
        raise DataError(f"standardize: mean={mean!r}, std={std!r} (expected finite, std > 0)")

    def encode(key, x):
        _check("standardize", x, jnp.floating)
        width = max(center.size, spread.size)
        if width not in (1, x.shape[-1]):
            raise DataError(f"standardize: {width} statistics for data of shape {x.shape}")
        return (x - center) / spread

    def log_det(u):
        total = -float(np.log(np.broadcast_to(spread, u.shape[1:]).astype(np.float64)).sum())
        return jnp.full(u.shape[:1], total, jnp.float32)

    return Transform(encode, lambda u: u * spread + center, log_det)


@no_type_check
def chain(*transforms: Transform) -> Transform:
    """The transforms one after the other, the first nearest to the data; each has its own key.

    Raises ConfigError for what is no `Transform`.
    """
    for place, transform in enumerate(transforms):
        if not all(hasattr(transform, name) for name in Transform._fields):
            raise ConfigError(f"transforms[{place}]={shown(transform)} must be a Transform")

    def encode(key, x):
        keys = sample_keys(key, x.shape[0])
        for i, transform in enumerate(transforms):
            x = transform.encode(fold_in(keys, i), x)
        return x

    def decode(u):
        for transform in reversed(transforms):
            u = transform.decode(u)
        return u

    def log_det(u):
        total = jnp.zeros(u.shape[:1])
        for i, transform in reversed(list(enumerate(transforms))):
            total = total + transform.log_det(u)
            u = transform.decode(u) if i else u  # nobody asks for data units here
        return total

    return Transform(encode, decode, log_det)


def symmetric_images() -> Transform:
    """uint8 images -> dequantised [-1, 1]: the usual units of a diffusion model.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import data
    >>> transform = data.symmetric_images()
    >>> transform.decode(jnp.array([-1.0, 0.0, 1.0])).tolist()
    [0, 128, 255]
    """
    whole = chain(dequantize(), to_symmetric())

    def encode(key, x):
        _check("symmetric_images (uint8 0..255)", x, jnp.uint8)
        return whole.encode(key, x)

    return whole._replace(encode=encode)


TRANSFORMS: dict[str, Callable[[], Transform]] = {
    "identity": identity,
    "dequantize": dequantize,
    "to_symmetric": to_symmetric,
    "to_unit": to_unit,
    "bin_centres": bin_centres,
    "binarize": binarize,
    "stochastic_binarize": lambda: binarize(stochastic=True),
    "logit": logit,
    "symmetric_images": symmetric_images,
}
"""Constructors that need no argument."""
