"""Checks at the door: keys, arrays and callables that a user gives.

They run once, on the values themselves, before anything is compiled. What jax traces has a shape
and a dtype, which are checked, but no values.
"""

import contextlib
import inspect
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import ConfigError, DataError, check_finite, shown
from gen_jax.types import Array

F = TypeVar("F", bound=Callable)


def no_type_check(function: F) -> F:
    """Leave arguments of a wrong type to the function's own checks.

    The type checker of the tests, which would raise before them, looks for a decorator of this
    name.
    """
    return typing.no_type_check(function)


def is_known(x: Any) -> bool:
    """Whether the values of an array are known: it is neither traced nor a mere shape."""
    return not isinstance(x, jax.core.Tracer | jax.ShapeDtypeStruct)


def kept_known(function: Callable[[Any], Any], x: Any) -> Any:
    """`function(x)`; what is known stays known, also where jax traces what surrounds it."""
    if not all(map(is_known, jax.tree.leaves(x))):
        return function(x)
    with jax.ensure_compile_time_eval():
        return function(x)


def check_values(check: Callable[[Any], Any], x: Any) -> None:
    """Run `check(x)` on known values, also where jax traces what surrounds them."""
    if is_known(x):
        with jax.ensure_compile_time_eval():
            check(x)


def _is_key(value: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(value, "dtype", None), jax.dtypes.prng_key)


@no_type_check
def as_key(argument: str, key: Any, n: int | None = None) -> Array:
    """One key, or with n also n of them; those of `jax.random.PRNGKey` become typed keys.

    Raises ConfigError for anything else, such as a seed.
    """
    raw = getattr(key, "dtype", None) == np.uint32 and np.ndim(key) > 0
    if raw and jnp.shape(key)[-1:] == jax.random.key_data(jax.random.key(0)).shape:
        key = jax.random.wrap_key_data(jnp.asarray(key))
    if not _is_key(key):
        seed = f", such as jax.random.key({key})" if type(key) is int and key >= 0 else ""
        raise ConfigError(f"{argument}={shown(key)} must be a key of jax.random{seed}")
    if key.shape != () and (n is None or key.shape != (n,)):
        allowed = "one key" if n is None else f"one key, or one per sample [{n}]"
        raise ConfigError(f"{argument} holds keys of shape {list(key.shape)}, must be {allowed}")
    return key


def host_array(argument: str, value: Any) -> np.ndarray:
    """A numpy array in the machine's byte order, from anything that has numbers."""
    if np.ma.is_masked(value):
        count = np.ma.count_masked(value)
        raise DataError(f"{argument} has {count} masked values; fill them, or drop their examples")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        why = " (its rows differ in shape)" if "inhomogeneous" in str(error) else ""
        raise DataError(f"{argument}={shown(value)} is no array of numbers{why}") from error
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float64) if array.dtype == np.longdouble else array  # which jax has not


def _check_fits(argument: str, array: np.ndarray) -> None:
    """Raise DataError for a number that jax would change: int64 that int32 cannot hold, say."""
    narrow = jax.dtypes.canonicalize_dtype(array.dtype)
    if narrow == array.dtype or array.size == 0:
        return
    limits: Any = jnp.iinfo if jnp.issubdtype(narrow, jnp.integer) else jnp.finfo
    low, high, bounds = np.fmin.reduce(array, None), np.fmax.reduce(array, None), limits(narrow)
    if any(np.isfinite(end) and not bounds.min <= end <= bounds.max for end in (low, high)):
        raise DataError(
            f"{argument} of {array.dtype} spans {low} to {high}, which {narrow} cannot hold "
            "(allowed: smaller numbers, or jax_enable_x64)"
        )


@no_type_check
def as_array(argument: str, value: Any, *, finite: bool = True) -> Any:
    """Real numbers as an array of jax or numpy, with no number changed.

    Raises DataError for strings, complex numbers, objects and masked values, for whole numbers that
    jax cannot hold, and with `finite` for NaN and infinity.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        value = jnp.asarray(value)
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct):
        value = host_array(argument, value)
    real = jnp.issubdtype(value.dtype, jnp.number) or value.dtype == bool
    if not real or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise DataError(f"{argument} is {shown(value)} (allowed: real numbers)")
    if isinstance(value, np.ndarray):
        _check_fits(argument, value)
    if finite and is_known(value) and jnp.issubdtype(value.dtype, jnp.floating):
        with jax.ensure_compile_time_eval():
            ends = np if isinstance(value, np.ndarray) else jnp
            if not bool(ends.isfinite(value).all()):
                raise DataError(f"{argument} holds values that are not finite")
    return value


@no_type_check
def on_host(argument: str, value: Any, *, finite: bool = True) -> np.ndarray:
    """`as_array` as an array of numpy, of any numbers that float64 and int64 hold."""
    with jax.enable_x64(True):
        return np.asarray(as_array(argument, value, finite=finite))


@no_type_check
def as_floats(argument: str, value: Any, *, finite: bool = False, least: Any = None) -> Array:
    """`as_array` as floating-point numbers, so that no option is rounded to whole ones with it.

    Args:
      least: narrower numbers become of this dtype: linear algebra takes no half precision.
    """
    array = as_array(argument, value, finite=finite)
    floating = jnp.issubdtype(array.dtype, jnp.floating)

    def convert(x):
        floats = jnp.asarray(x) if floating else jnp.asarray(x, jnp.result_type(float))
        return floats if least is None else floats.astype(jnp.promote_types(floats.dtype, least))

    return kept_known(convert, array)


def check_form(argument: str, shape: tuple[int, ...], form: str, sizes: dict[str, Any]) -> None:
    """Raise ConfigError unless a shape has the axes that `form` names, "N D" or "*N D", in the
    sizes that other arguments gave them; `sizes` learns the new ones. "..." is any axes, "*N" the
    same ones wherever it stands.
    """
    axes = form.split()
    many = [i for i, axis in enumerate(axes) if axis[0] in "*."]
    left = many[0] if many else len(axes)
    right = len(axes) - left - 1 if many else 0
    fits = len(shape) == len(axes) if not many else len(shape) >= len(axes) - 1
    stop = len(shape) - right
    ends: list[tuple[str, Any]] = [
        *zip(axes[:left], shape),
        *zip(axes[len(axes) - right :], shape[stop:]),
    ]
    ends += [(axes[i], shape[left:stop]) for i in many if axes[i] != "..."]
    known = {axis: sizes[axis] for axis in axes if axis in sizes}
    if not fits or any(sizes.setdefault(axis, size) != size for axis, size in ends):
        named = "".join(f", {axis} = {size}" for axis, size in known.items())
        raise ConfigError(f"{argument} has shape {shape}, must be [{', '.join(axes)}]{named}")


def check_unit(argument: str, values: Any) -> None:
    """Raise ConfigError for known values that do not lie in [0, 1]."""
    if not is_known(values):
        return
    known = np.asarray(values)
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        wrong = known[~((known >= 0) & (known <= 1))].ravel()[0]
        raise ConfigError(f"{argument} holds {wrong:g}, must lie in [0, 1]")


def check_order(t: Any, s: Any) -> None:
    """Raise ConfigError unless s <= t, where both are known: steps go from noise to data.

    Inside jit those of Python, numpy and closures are known; what `jnp` makes there is traced.
    """
    if is_known(t) and is_known(s) and np.any(np.greater(s, t)):
        raise ConfigError(f"s={shown(s)} must be at most t={shown(t)}: s is the cleaner time")


@no_type_check
def as_arrays(argument: str, data: Any, *, finite: bool = True) -> dict[str, Any]:
    """Arrays by name. Raises DataError for what is no mapping of arrays."""
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise DataError(f'{argument} is {shown(data)}, must be a mapping {{"x": array, ...}}')
    named = lambda name: f"{argument} {name!r}"
    return {name: as_array(named(name), value, finite=finite) for name, value in data.items()}


def as_batch(argument: str, batch: Any, *, finite: bool = True) -> dict[str, Any]:
    """`as_arrays` as arrays of jax, whose values stay known, also where jax traces around them."""
    arrays = as_arrays(argument, batch, finite=finite)
    on_device = lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x
    with jax.ensure_compile_time_eval():
        return {name: on_device(array) for name, array in arrays.items()}


def check_path(argument: str, path: Any) -> Path:
    """A path from a string, not empty, or a path. Raises ConfigError for anything else."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"{argument}={shown(path)} must be a path")
    return Path(text)


def as_numbers(argument: str, values: Any, minimum: int = 1) -> np.ndarray:
    """Finite numbers [N], N of at least `minimum`, in float64. Raises ConfigError or DataError."""
    array = on_host(argument, values).astype(np.float64)
    if array.ndim != 1 or len(array) < minimum:
        raise ConfigError(f"{argument} has shape {array.shape}; it must be [N] with N >= {minimum}")
    return array


@no_type_check
def as_times(times: Any, rising: bool = False) -> Array:
    """Times as an array of floats. Raises ConfigError unless they fall from at most 1 to at least
    0, or rise the other way, if they are known."""
    times = kept_known(lambda given: jnp.asarray(given, float), times)
    if times.ndim != 1 or times.shape[0] < 2:
        raise ConfigError(f"times must have shape [n + 1] with n >= 1, got {times.shape}")
    if not is_known(times):
        return times
    values = np.asarray(times)[:: -1 if rising else 1]
    if not (np.all(np.diff(values) < 0) and values[0] <= 1 and values[-1] >= 0):
        noise, data = "noise (at most 1)", "data (at least 0)"
        verb, ends = ("rise", (data, noise)) if rising else ("fall", (noise, data))
        raise ConfigError(f"times must {verb} strictly from {ends[0]} to {ends[1]}")
    return times


@no_type_check
def check_callable(argument: str, function: Any) -> Any:
    """Return `function`; raise ConfigError unless it can be called."""
    if not callable(function):
        raise ConfigError(f"{argument}={shown(function)} must be a function")
    return function


def as_network(argument: str, network: Any) -> Any:
    """Return `network`; raise ConfigError unless it has `init` and `apply`, and is no class."""
    if isinstance(network, type):
        raise ConfigError(f"{argument}={network.__name__} is a class: give {network.__name__}(...)")
    if not all(callable(getattr(network, name, None)) for name in ("init", "apply")):
        raise ConfigError(
            f"{argument}={shown(network)} has no init and apply: give a Flax Linen module, "
            "nets.from_nnx(build) or nets.from_functions(init, apply)"
        )
    return network


NOT_RUN = ("InvalidRngError", "ModifyScopeVariableError")
"""Errors of Flax where a network needs random numbers, or moves its batch statistics."""


@contextlib.contextmanager
def parameters_alone() -> Iterator[None]:
    """ConfigError for Flax's of a network with dropout or batch statistics that are not run."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ != "flax.errors" or type(error).__name__ not in NOT_RUN:
            raise
        raise ConfigError(
            "a network has dropout or batch normalisation, which this model does not run: leave "
            f"it out ({str(error).partition(' (http')[0]})"
        ) from error


def check_arguments(argument: str, function: Any, names: tuple[str, ...]) -> Any:
    """Return `function`; raise ConfigError unless it can be called with these, in this order."""
    check_callable(argument, function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a function that does not say what it takes
        return function
    try:
        signature.bind(*names)
    except TypeError as error:
        raise ConfigError(
            f"{argument} must be a function of ({', '.join(names)}), got one of {signature}"
        ) from error
    return function


def check_output(name: str, out: Any, shape: tuple[int, ...], what: str = "") -> Any:
    """Return what a user's callable returned, if it is floating-point numbers of this shape.

    Any other shape would broadcast against the numbers it is compared with, and train another
    model. Raises ConfigError with the callable's name.
    """
    try:
        if not (hasattr(out, "shape") or isinstance(out, int | float | complex)):
            raise TypeError
        found, dtype = jnp.shape(out), jnp.result_type(out)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} returned {shown(out)}, allowed: {what}{tuple(shape)}") from None
    if found != tuple(shape) or not jnp.issubdtype(dtype, jnp.floating):
        raise ConfigError(
            f"{name} returned shape {found} of {dtype}, allowed: {what}{tuple(shape)}"
        )
    return out


def one_or_each(name: str, value: Any, n: int) -> Any:
    """A number for all samples or one for each, finite if known. Raises ConfigError, DataError."""
    if isinstance(value, list | tuple | np.ndarray | jax.Array):
        value = check_finite(name, as_array(name, value, finite=False))
    if np.shape(value) not in ((), (n,)):
        raise ConfigError(f"{name} must be one number or have shape [{n}], got {np.shape(value)}")
    return value


def one_number(name: str, value: Any, n: int) -> Any:
    """One number for all samples, finite if known. Raises ConfigError, DataError.

    Rows for each sample would not be cut with them by `sample_in_batches`.
    """
    if isinstance(value, list | tuple | np.ndarray | jax.Array):
        value = as_array(name, value, finite=False)
    if np.ndim(value):
        raise ConfigError(f"{name} must be one number, got shape {np.shape(value)}")
    return check_finite(name, value)


def not_negative(name: str, value: Any, n: int) -> Any:
    """`one_number`, and at least 0 where it is known."""
    value = one_number(name, value, n)
    if is_known(value) and np.any(np.less(value, 0)):
        raise ConfigError(f"{name}={shown(value)} must be at least 0")
    return value


def check_per_point(name: str, values: Any, count: int) -> Any:
    """Return `values` if they are floating-point numbers [count]; else raise ConfigError."""
    return check_output(name, values, (count,), "one number per point, ")


@no_type_check
def per_point(name: str, function: Callable) -> Callable:
    """The function `(x [B, ...], ...) -> [B]`, which raises ConfigError for another output.

    [B, 1] would broadcast to [B, B] against another [B], and [] to all of it. Points may be a
    pytree.
    """

    check_callable(name, function)

    @wraps(function)
    def checked(x, *rest):
        count = len(jax.tree.leaves(x)[0])
        return check_per_point(name, function(x, *rest), count)

    return checked


@no_type_check
def same_shape(name: str, function: Callable) -> Callable:
    """The function `(x, ...) -> array or pytree like x`, which raises ConfigError for another."""
    one = lambda like, leaf: check_output(name, leaf, like.shape, "that of x, ")
    check_callable(name, function)

    @wraps(function)
    def checked(x, *rest):
        out = function(x, *rest)
        try:
            return jax.tree.map(one, x, out)
        except ConfigError:
            raise
        except ValueError:
            raise ConfigError(
                f"{name} returned {shown(out)}, allowed: the structure of x"
            ) from None

    return checked
