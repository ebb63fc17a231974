"""What is measured of an image: linear operators A with everything that solvers need of them.

Each A here has orthonormal coordinates in which A A^T is diagonal, A A^T = U S^2 U^H (S: the
singular values). The adjoint comes from `jax.linear_transpose`; the rest follows from U and S:

    A^+ y = A^T U S^-2 U^H y,      (p A A^T + n I)^-1 y = U (p S^2 + n)^-1 U^H y.

Images are [H, W, C]. Every function takes any number of leading batch axes. Measurements and noise
levels are in the units of the image that A is applied to (for images in [-1, 1] a noise level of
0.1 is 13 of 255 grey levels).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gen_jax.axes import expand
from gen_jax.checks import as_array, as_floats, check_values, is_known, no_type_check
from gen_jax.errors import ConfigError, check_range, check_shape, shown
from gen_jax.types import Array, Float

SMALLEST = 1e-3
"""Singular values below this share of the largest are set to zero in the operator itself."""


class Spectrum(NamedTuple):
    """A A^T = U S^2 U^H: `values` S of the measurement's shape, `to` = U^H and `back` = U."""

    values: Float[Array | np.ndarray, "*measured"]
    to: Callable[[Array], Array]
    back: Callable[[Array], Array]


class LinearOperator(NamedTuple):
    """A linear map from images [*shape] to measurements [*measured].

    Fields:
      apply: `x [..., *shape] -> A x [..., *measured]`.
      adjoint: `y -> A^T y`.
      pseudo_inverse: `y -> A^+ y`, the shortest x among those with the smallest |y - A x|.
      solve: `(y, p, n) -> (p A A^T + n I)^-1 y`; p and n are [] or of y's batch axes. Directions in
        which p A A^T + n I is zero are left out. Raises ConfigError for negative ones and NaN.
      spectrum: singular values and their coordinates.
    """

    shape: tuple[int, ...]
    measured: tuple[int, ...]
    apply: Callable[[Array], Array]
    adjoint: Callable[[Array], Array]
    pseudo_inverse: Callable[[Array], Array]
    solve: Callable[[Array, Array | float, Array | float], Array]
    spectrum: Spectrum


class Operator(NamedTuple):
    """A map that is not linear, and `pseudo_inverse` with apply(pseudo_inverse(y)) = y.

    `rounding_std`: deviation of the rounding in `apply`, a number or an array [*measured], which
    its derivative does not see; likelihoods add its variance to that of the noise.
    """

    shape: tuple[int, ...]
    measured: tuple[int, ...]
    apply: Callable[[Array], Array]
    pseudo_inverse: Callable[[Array], Array]
    rounding_std: Any = 0.0


def over_batch(
    function: Callable, shape: tuple[int, ...], argument: str, real: bool = True
) -> Callable:
    """`function` of one array [*shape] as a function of arrays [..., *shape].

    Numbers become floating-point ones; unless `real` they may be complex and stay as they are.
    Raises ConfigError for an array that does not end in `shape`, DataError for what is no array.
    """

    def batched(x):
        x = as_floats(argument, x) if real else jnp.asarray(x)
        lead = x.shape[: x.ndim - len(shape)]
        if x.ndim < len(shape) or x.shape[len(lead) :] != shape:
            raise ConfigError(f"{argument} must have shape [..., {shape}], got {list(x.shape)}")
        flat = jax.vmap(function)(x.reshape(-1, *shape))
        return flat.reshape(*lead, *flat.shape[1:])

    return batched


@no_type_check
def linear_operator(
    shape: tuple[int, ...],
    apply: Callable[[Array], Array],
    values: ArrayLike = 1.0,
    to: Callable[[Array], Array] = lambda y: y,
    back: Callable[[Array], Array] = lambda y: y,
) -> LinearOperator:
    """A `LinearOperator` from its action on one image and the coordinates of `Spectrum`."""
    shape = check_shape("shape", shape)
    out = jax.eval_shape(apply, jax.ShapeDtypeStruct(shape, jnp.float32))
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise ConfigError(f"apply returned {shown(out)}, allowed: one array")
    measured = out.shape
    if 0 in measured:
        raise ConfigError(f"the operator on images {shape} measures nothing: shape {measured}")
    given: Any = as_array("values", values)
    if given.shape not in ((), measured):
        raise ConfigError(f"values {given.shape} must be one number or have shape {measured}")
    if is_known(given):  # on the host in float64: the operator may be used under x64 later
        singular: Any = np.broadcast_to(np.asarray(given, np.float64), measured)
        largest: Any = singular.max() or 1.0
    else:
        singular = jnp.broadcast_to(given, measured)
        largest = jnp.where(singular.max() > 0, singular.max(), 1)

    def adjoint_one(y):
        return jax.linear_transpose(apply, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]

    adjoint = over_batch(adjoint_one, measured, "y")
    to, back = over_batch(to, measured, "y"), over_batch(back, measured, "y", False)

    def divided(y, denominator):
        safe = jnp.where(denominator == 0, 1, denominator)
        return back(jnp.where(denominator == 0, 0, to(y) / safe.astype(y.dtype))).astype(y.dtype)

    def solve(y, p, n):
        y = as_floats("y", y)
        square, batch = jnp.asarray(singular, y.dtype) ** 2, y.shape[: y.ndim - len(measured)]
        p, n = (_scale(name, a, batch) for name, a in (("p", p), ("n", n)))
        p, n = (expand(a.astype(y.dtype), y) for a in (p, n))
        return divided(y, p * square + n)

    def pseudo_inverse(y):
        # In units of the largest value, whose square may leave the range of the floats.
        y = as_floats("y", y)
        unit, square = (jnp.asarray(a, y.dtype) for a in (largest, (singular / largest) ** 2))
        return adjoint(divided(y, square) / unit) / unit

    return LinearOperator(
        shape,
        measured,
        over_batch(apply, shape, "x"),
        adjoint,
        pseudo_inverse,
        solve,
        Spectrum(singular, to, back),
    )


def _scale(argument: str, value: Any, batch: tuple[int, ...]) -> Array:
    """A factor of `solve`, one or one for each of the first batch axes; at least 0 where known."""
    value = as_floats(argument, value)
    if value.shape != batch[: value.ndim]:
        raise ConfigError(
            f"{argument} has shape {value.shape}, must be () or of the batch axes {batch} of y"
        )

    def check(value):
        if not np.all(np.asarray(value) >= 0):
            raise ConfigError(f"{argument}={shown(value)} must be at least 0")

    check_values(check, value)
    return value


def _tiny() -> float:
    """The smallest number that jax's floats hold: what is smaller is 0 there."""
    return float(jnp.finfo(jnp.result_type(float)).tiny)


def image_shape(shape: Any) -> tuple[int, ...]:
    """Whole numbers [H, W, ...]; ConfigError for anything else."""
    sizes = check_shape("shape", shape)
    if len(sizes) < 2:
        raise ConfigError(f"shape={shape} must be that of an image, [H, W, C]")
    return tuple(map(int, sizes))


def _known(argument: str, value: Any, finite: bool = True) -> np.ndarray:
    """Numbers on the host. Raises ConfigError for those that jax traces."""
    value = as_array(argument, value, finite=finite)
    if not is_known(value):
        raise ConfigError(
            f"{argument} is traced by jax (allowed: known numbers; make the operator outside of "
            "jit and vmap)"
        )
    return np.asarray(value)


@no_type_check
def inpainting(mask: ArrayLike) -> LinearOperator:
    """The values at which `mask` [*shape] is true, [M]: gathered, not set to zero.

    Raises ConfigError for a mask that is not boolean, and for one that measures nothing.
    """
    mask = _known("mask", mask)
    if mask.dtype != bool:
        raise ConfigError(f"mask must be boolean (true where x is measured), got {mask.dtype}")
    places = np.flatnonzero(mask)
    if not len(places):
        raise ConfigError(f"mask of shape {mask.shape} measures nothing: no entry is true")
    return linear_operator(mask.shape, lambda x: x.reshape(-1)[places])


@no_type_check
def uncropping(shape: tuple[int, ...], border: int) -> LinearOperator:
    """The inner part of an image, without `border` pixels at each of its four sides."""
    shape = image_shape(shape)
    check_range("border", border, 0, (min(shape[:2]) - 1) // 2, integer=True)
    inner = slice(border, -border or None)
    return linear_operator(shape, lambda x: x[inner, inner])


LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: the weights of red, green and blue in a grey image."""


@no_type_check
def colourisation(shape: tuple[int, ...]) -> LinearOperator:
    """The grey image [H, W, 1] of a colour image [H, W, 3], by the weights `LUMA`."""
    shape = image_shape(shape)
    if len(shape) != 3 or shape[2] != 3:
        raise ConfigError(f"shape={shape} must be [H, W, 3]: colourisation needs colours")
    weights = np.array(LUMA)

    def grey(x):
        return jnp.sum(x * weights.astype(x.dtype), axis=-1, keepdims=True)

    return linear_operator(shape, grey, np.linalg.norm(weights))


@no_type_check
def super_resolution(shape: tuple[int, ...], factor: int) -> LinearOperator:
    """Means over blocks of factor x factor pixels."""
    shape = image_shape(shape)
    check_range("factor", factor, 1, integer=True)
    height, width = shape[:2]
    if height % factor or width % factor:
        raise ConfigError(f"factor={factor} must divide height and width of shape {shape}")

    def pooled(x):
        blocks = x.reshape(height // factor, factor, width // factor, factor, *shape[2:])
        return blocks.mean((1, 3))

    return linear_operator(shape, pooled, 1 / factor)


def gaussian_kernel(size: int, std: float) -> Float[np.ndarray, "size size"]:
    """A Gaussian [size, size] with sum 1; `std` in pixels."""
    check_range("size", size, 1, integer=True)
    check_range("std", std, 0, open_low=True)
    place = np.abs(np.arange(size) - (size - 1) / 2)
    # The middle counts 1, also where a narrow Gaussian is 0 at the pixels beside it.
    with np.errstate(over="ignore"):
        line = np.exp(-0.5 * (place - place.min()) / std * ((place + place.min()) / std))
    return np.outer(line, line) / line.sum() ** 2


@no_type_check
def blur(shape: tuple[int, ...], kernel: ArrayLike) -> LinearOperator:
    """Periodic convolution of each channel with `kernel` [h, w], whose middle is the pixel itself.

    Frequencies that the kernel damps below `SMALLEST` of the strongest are removed altogether, so
    that the pseudo-inverse amplifies rounding by at most 1 / `SMALLEST`.
    Raises ConfigError for a kernel that is larger than the image, or zero.
    """
    shape, kernel = image_shape(shape), _known("kernel", kernel).astype(np.float64)
    if kernel.ndim != 2 or kernel.shape[0] > shape[0] or kernel.shape[1] > shape[1]:
        raise ConfigError(f"kernel {kernel.shape} must be [h, w], at most as large as {shape[:2]}")
    padded = np.zeros(shape[:2])
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    middle = tuple(-((n - 1) // 2) for n in kernel.shape)
    response = np.fft.fft2(np.roll(padded, middle, (0, 1)))
    strength = np.abs(response)
    if not strength.max() >= _tiny():
        raise ConfigError("kernel must not be zero: the operator measures nothing")
    response = np.where(strength < SMALLEST * strength.max(), 0, response)
    response = response.reshape(*shape[:2], *(1,) * (len(shape) - 2))

    def to(y):
        return jnp.fft.fft2(y, axes=(0, 1), norm="ortho")

    def back(c):
        return jnp.fft.ifft2(c, axes=(0, 1), norm="ortho").real

    return linear_operator(
        shape,
        lambda x: back(to(x) * response).astype(x.dtype),
        np.broadcast_to(np.abs(response), shape),
        to,
        back,
    )


@no_type_check
def dense(matrix: ArrayLike) -> LinearOperator:
    """Any matrix [M, D] on points [D]; singular values below `SMALLEST` of the first are 0."""
    matrix = _known("matrix", matrix, finite=False)
    if matrix.ndim != 2 or not np.all(np.isfinite(matrix)):
        raise ConfigError(f"matrix must be finite and [M, D], got shape {matrix.shape}")
    u, values, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=True)
    rank = len(values)
    if not (rank and values[0] >= _tiny()):
        raise ConfigError(f"matrix of shape {matrix.shape} is zero: it measures nothing")
    values = np.where(values < SMALLEST * values[0], 0, values)
    kept = (u[:, :rank] * values) @ vt[:rank]
    return linear_operator(
        (matrix.shape[1],),
        lambda x: jnp.matmul(kept.astype(x.dtype), x, precision="highest"),
        np.pad(values, (0, matrix.shape[0] - rank)),
        lambda y: jnp.matmul(u.T.astype(y.dtype), y, precision="highest"),
        lambda c: jnp.matmul(u.astype(c.dtype), c, precision="highest"),
    )
