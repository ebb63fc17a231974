"""A generative model is four pure functions over one pytree of state.

Training, checkpoints, devices, metrics and pictures are written once against these four.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property, partial, update_wrapper, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.batching import batch_rows, watched
from gen_jax.checks import as_array, as_batch, as_key, is_known, no_type_check, parameters_alone
from gen_jax.compiled import Check, Compiled, has_functions, is_arrays
from gen_jax.conditions import Condition
from gen_jax.errors import ConfigError, DataError, GenJaxError, check_range, shown
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Key, Shaped, State

MAX_SAMPLES = 2**31 - 1
"""Samples of one call: more have no index of int32."""

PER_SAMPLE, SHARED, STATIC = "per sample", "shared", "static"

OPTIONS = "Options of this model: "


def trained_part(state: State) -> State:
    """`state.params` or `state["params"]`; of a state without it the whole."""
    found = state.get("params") if isinstance(state, Mapping) else getattr(state, "params", None)
    return state if found is None else found


class _Functions(NamedTuple):
    init: Callable
    step: Callable
    sample: Callable = None  # type: ignore[assignment]
    log_prob: Callable | None = None
    log_prob_kind: str = "none"
    conditions: Mapping[str, str] = {}
    parts: Any = None
    parameters: Callable[[State], State] = trained_part


def _needs_no_batch(function: Callable) -> bool:
    """Whether the last argument may be left out: a model of a known density needs no data."""
    return list(inspect.signature(function).parameters.values())[-1].default is None


def _batch(function: Callable, batch: Any, finite: bool) -> Any:
    if batch is None and _needs_no_batch(function):
        return None
    arrays = as_batch("batch", batch, finite=finite)
    if "x" not in arrays:
        raise DataError(f"batch has no 'x' (it has: {', '.join(map(repr, arrays)) or 'nothing'})")
    for name, array in arrays.items():
        if array.shape[:1] == (0,):
            raise DataError(f"batch {name!r} has shape {array.shape}, must hold an example")
    return arrays


def _checked_n(n: Any) -> int:
    """n itself. Raises ConfigError unless it is a number of samples that one call can draw."""
    check_range("n", n, 1, integer=True)
    if n > MAX_SAMPLES:
        raise ConfigError(
            f"n={n} must be an integer in [1, {MAX_SAMPLES}] (sample_in_batches draws many)"
        )
    return int(n)


def _as_points(x: Any) -> Any:
    """x as finite numbers [B, ...] with B of at least 1. Raises DataError for others."""
    x = as_array("x", x)
    if x.ndim == 0 or x.shape[0] == 0:
        raise DataError(f"x has shape {x.shape}, must be a batch [B, ...] with B >= 1")
    return x


def _with_state(function: Callable, key: Any, state: State, *rest: Any, **named: Any) -> Any:
    """The function called; ConfigError where it fails on a state without a single array."""
    try:
        return parameters_alone()(function)(key, state, *rest, **named)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        words = (type(state).__name__, "string indexing")
        of_state = not isinstance(error, TypeError) or any(word in str(error) for word in words)
        if type(state) is dict and type(getattr(error, "obj", None)) is dict:
            raise ConfigError(
                f"state={shown(state)} must be the whole state that init returns, not its "
                f"parameters ({error})"
            ) from error
        if not of_state or any(np.ndim(leaf) for leaf in jax.tree.leaves(state)):
            raise
        raise ConfigError(f"state={shown(state)} must be what init returns ({error})") from error


def _key_first(form: str, key: Any) -> Any:
    """One key. Raises ConfigError with the form of the call, for one without its key."""
    try:
        return as_key("key", key)
    except ConfigError as error:
        raise ConfigError(f"{error}: it is {form}, the key of jax.random first") from error


def _init(function: Callable) -> Callable:
    return lambda key=None, batch=None: parameters_alone()(function)(
        _key_first("init(key, batch)", key), _batch(function, batch, True)
    )


def _step(function: Callable) -> Callable:
    return lambda key=None, state=None, batch=None: _with_state(
        function, _key_first("step(key, state, batch)", key), state, _batch(function, batch, False)
    )


def _sample(function: Callable) -> Callable:
    def sample(key, state, n, *arguments, **condition):
        key = as_key("key", key, _checked_n(n))
        return _with_state(function, key, state, n, *arguments, **condition)

    return sample


def _log_prob(function: Callable) -> Callable:
    def log_prob(key, state, x, *arguments, **condition):
        x = _as_points(x)
        key = None if key is None else as_key("key", key, len(x))  # an exact density needs none
        return _with_state(function, key, state, x, *arguments, **condition)

    return log_prob


DOORS: dict[str, Callable] = {
    "init": _init,
    "step": _step,
    "sample": _sample,
    "log_prob": _log_prob,
}
"""Each function of a model behind checks of its key and of its data, where values are known."""


PLAIN = {
    "init": "A fresh state, for batches like this one.",
    "step": "One update: (state, metrics).",
    "sample": "Samples [n, ...] in data units.",
    "log_prob": "log p(x) [B] in nats and data units.",
}
"""Docstrings of functions that come without one."""


def _behind_door(name: str, function: Any) -> Any:
    if function is None or hasattr(function, "behind_door"):
        return function
    checked = wraps(function)(DOORS[name](function))
    if isinstance(function, partial):  # its docstring is that of the class
        update_wrapper(checked, function.func, updated=())
        checked.__wrapped__ = function  # type: ignore[attr-defined]
    checked.__name__, checked.__doc__ = name, checked.__doc__ or PLAIN[name]
    checked.behind_door = True  # type: ignore[attr-defined]
    return checked


class GenerativeModel(_Functions):
    """The contract every family fulfils; its constructors return it `compiled`.

    Fields:
      init: `(key, batch) -> state`; parameters, optimizer, EMA, buffers: any pytree of arrays.
      step: `(key, state, batch) -> (state, metrics)`; one update, jit-able; metrics are scalars.
      sample: `(key, state, n, **conditions) -> x [n, ...]` in data units, or None for what is only
        trained, such as a classifier. `key` is one key, or one per sample [n].
      log_prob: `(key, state, x) -> [n]` in nats and data units, or None when the model is implicit.
      log_prob_kind: "exact", "lower bound", "estimate" or "none": printed beside every number.
      conditions: what `sample` takes, name -> "per sample" (an array with a row for each of the n
        samples; a scalar serves all), "shared" (arrays that serve all samples) or "static" (part of
        the program).
      parts: what the family's own functions of `(model, state)` need to reach the trained inside.
      parameters: `state -> pytree` of what is trained, without averages, moments and buffers.
    Its functions raise ConfigError for what is no key of `jax.random`, for n < 1 or above int32
    and for a state that is none, and DataError for a batch that is no mapping of arrays of real
    numbers, has no "x" or no example, and for x that are empty or not finite.
    """

    def __new__(cls, *functions: Any, **named: Any) -> "GenerativeModel":
        """Each function behind its door."""
        given = _Functions(*functions, **named)._asdict()
        return super().__new__(
            cls, **given | {name: _behind_door(name, given[name]) for name in DOORS}
        )

    def __hash__(self) -> int:
        """A model may be a static argument of `jax.jit`; its parts may hold what has no hash."""
        fields = self._asdict()
        fields.pop("parts")
        conditions = frozenset(fields.pop("conditions").items())
        return hash((conditions, *fields.values()))

    def _replace(self, **changes: Any) -> "GenerativeModel":
        """Another model, with other functions."""
        return GenerativeModel(**self._asdict() | changes)

    @cached_property
    def held(self) -> "GenerativeModel":
        """`compiled(self)`, made once, so that a model that is not compiled holds its programs."""
        return compiled(self)


def assemble(
    parts: Any,
    init: Callable,
    step: Callable,
    sample: Callable,
    log_prob: Callable | None = None,
    log_prob_kind: str = "none",
    *,
    parameters: Callable[[State], State] = trained_part,
) -> GenerativeModel:
    """The model of a family's functions, each of which takes `parts` first."""
    density = None if log_prob is None else partial(log_prob, parts)
    functions = (partial(function, parts) for function in (init, step, sample))
    return GenerativeModel(*functions, density, log_prob_kind, parts=parts, parameters=parameters)


def _checked_size(value: Any, n: Any) -> int:
    """`_checked_n` in the form of a `Check`."""
    return _checked_n(value)


def _checked_data(encode: Callable | None, x: Any, n: int) -> Any:
    """x as finite numbers, after `encode` has looked at them. Raises DataError for others."""
    x = _as_points(x)
    if not is_known(x):
        return x
    if encode is not None:
        encode(jax.random.key(0), x)
    return x


def compiled(
    model: GenerativeModel,
    *,
    condition: Condition | None = None,
    per_sample: Mapping[str, Check] | None = None,
    shared: Mapping[str, Check] | tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    encode: Callable | None = None,
) -> GenerativeModel:
    """The model with `sample` and `log_prob` compiled at their first call of each kind, and held.

    Held are programs whose options are plain: numbers, names, types of numbers, None and tuples of
    these. A function given as an option (a guide, a grid, a stepper) may read what changes between
    calls, so a program with it is compiled for one call; to hold it, jit the call yourself. The
    model's own functions must be pure. What is compiled already stays as it is.

    Options of `sample` that are not named here are "static", unless `model.conditions` has them.
    `sample` and `log_prob` get a signature without `**`: an option that is not in it is refused.

    Args:
      condition: its names are options of both functions, which take them by `**` or by name.
      per_sample: name of another option -> `(value, n) -> array [n, ...]`, which checks its values:
        a compiled function does not see them.
      shared: names of options that are numbers or arrays for all samples, with checks or without.
      without: options in the signatures that mean nothing to this model.
      encode: `(key, x)`, called with the data of `log_prob` for its checks of their values.
    """
    added = condition.checks if condition is not None else {}
    each = {**added, **(per_sample or {})}
    checks = {**each, **(shared if isinstance(shared, Mapping) else {})}
    sample, log_prob, given = model.sample, model.log_prob, tuple(model.conditions)
    if sample is not None and not isinstance(sample, Compiled):
        sample = Compiled(sample, _checked_size, checks, (*added, *given), without)
    if log_prob is not None and not isinstance(log_prob, Compiled):
        log_prob = Compiled(log_prob, partial(_checked_data, encode), checks, tuple(added), without)
    kinds = {**dict.fromkeys(shared, SHARED), **dict.fromkeys(each, PER_SAMPLE)}
    options = () if sample is None else sample.options
    conditions = {**{name: kinds.get(name, STATIC) for name in options}, **model.conditions}
    _describe(sample, conditions)
    _describe(log_prob, {**kinds, **conditions})
    return model._replace(sample=sample, log_prob=log_prob, conditions=conditions)


def _describe(function: Any, kinds: Mapping[str, str]) -> None:
    """End a docstring with the options that this model takes, as `model.sample?` shows them."""
    if function is None or OPTIONS in (function.__doc__ or ""):
        return
    named = ", ".join(f"{name} ({kinds.get(name, STATIC)})" for name in function.options)
    function.__doc__ = f"{inspect.getdoc(function)}\n\n{OPTIONS}{named or 'none'}."


def compiled_like(model: GenerativeModel, other: GenerativeModel) -> GenerativeModel:
    """The model compiled with the options, checks and conditions of another, `compiled` one.

    Its own functions take the options by `**`.
    """

    def again(function: Any, like: Any) -> Any:
        if like is None:
            return None
        check = like.checks[like.first]
        held = Compiled(function, check, like.checks, signature=like.signature)
        held.__doc__ = like.__doc__
        return held

    other = other.held
    return model._replace(
        sample=again(model.sample, other.sample),
        log_prob=again(model.log_prob, other.log_prob),
        log_prob_kind=other.log_prob_kind,
        conditions=other.conditions,
    )


def sampler_of(model: GenerativeModel) -> Callable:
    """`model.sample`. Raises ConfigError for a model that cannot be sampled."""
    if model.sample is None:
        raise ConfigError("this model has no samples (its sample is None)")
    return model.sample


def _rows(model: GenerativeModel, values: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The conditions that belong to each sample, [n, ...]. Raises ConfigError where that is open.

    A guess from the shape would cut a prompt of n tokens.
    """
    rows = lambda value: {np.shape(leaf)[:1] for leaf in jax.tree.leaves(value)}
    whole = [name for name, value in values.items() if is_arrays(value) and rows(value) == {(n,)}]
    kind_of = lambda name: model.conditions.get(name, STATIC)
    for name in whole:
        if kind_of(name) == STATIC:
            raise ConfigError(
                f"{name} has {n} rows, as many as there are samples: say in the model's "
                f"conditions whether it is {PER_SAMPLE!r} or {SHARED!r}"
            )
    return {name: values[name] for name in whole if kind_of(name) == PER_SAMPLE}


@no_type_check
def sample_in_batches(
    model: GenerativeModel, key: Key[Array, ""], state: State, n: int, batch_size: int, **condition
) -> Shaped[Array, "n ..."]:
    """`model.sample` for many samples within memory: the same samples as one call, compiled once.

    Calls with plain options share one program, see `compiled`; others compile once for all batches.
    Conditions that are "per sample" are cut into batches with the samples, all others are passed
    whole: arrays that a function (a `guide`) closes over serve every batch. Raises ConfigError for
    numbers out of range, for arrays [n, ...] of which `model.conditions` does not say what they
    are, and for options that make `sample` return more than samples.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax.model import GenerativeModel, sample_in_batches
    >>> from gen_jax.randomness import normal, sample_keys
    >>> model = GenerativeModel(
    ...     init=lambda key, batch: jnp.zeros(2),
    ...     step=lambda key, state, batch: (state, {}),
    ...     sample=lambda key, state, n: state + normal(sample_keys(key, n), (2,)),
    ... )
    >>> sample_in_batches(model, jax.random.key(0), jnp.zeros(2), n=10, batch_size=4).shape
    (10, 2)
    """
    if not isinstance(model, GenerativeModel):
        raise ConfigError(f"model={shown(model)} must be a GenerativeModel")
    check_range("batch_size", batch_size, 1, integer=True)
    model = model.held
    sample: Any = sampler_of(model)
    _, _, values = sample.checked(key, state, n, **condition)
    n, keys, rows = values[sample.first], sample_keys(key, n), _rows(model, values, n)
    size = min(batch_size, n)
    cut = lambda index: jax.tree.map(lambda leaf: leaf[index], rows)
    run = sample.program({**values, **cut(slice(size)), sample.first: size})
    chunks = []
    for index in map(jnp.asarray, watched(batch_rows(n, size), "samples")):
        try:
            part = run(keys[index], state, {**values, **cut(index)})
        except (TypeError, ValueError) as error:
            functions = [name for name, value in condition.items() if has_functions(value)]
            if isinstance(error, GenJaxError) or not functions or size == n:
                raise
            raise ConfigError(
                f"{', '.join(functions)} failed on a batch of {size} of the {n} samples: arrays "
                "that a function closes over are not cut into batches"
            ) from error
        if not isinstance(part, jax.Array):
            given = ", ".join(condition)
            raise ConfigError(f"sample returns more than samples for what was given ({given})")
        chunks.append(part)
    return jnp.concatenate(chunks)[:n]
