"""What a model may be conditioned on: labels, captions, images, or several of these.

A model of the option `condition=labels(10)` finds the labels in each batch, takes `label=` in
`sample` and `log_prob`, and hands the condition's value to its networks as their last argument.

A condition that is not given: a model that was trained with hidden conditions (`condition_dropout`
above 0) takes `null`, the value that stood for the hidden ones; a model without them (VAE, GAN)
draws one for each sample, as `draw` says.

The value `num_classes` stands for "no label", an empty sentence for "no caption" and an image of
zeros for "no image". Under `jax.jit` values are not seen: a label out of range gives NaN there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import as_array, as_network, is_known
from gen_jax.errors import ConfigError, DataError, check_range, check_shape, check_text, shown
from gen_jax.types import Array, Bool, Float, Int, Key

Check = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Condition:
    """The face of every condition; one with a single value has one name.

    Fields:
      name: of the argument of `sample` and `log_prob`.
      key: of the array in a batch.
    """

    name: str
    key: str

    @property
    def checks(self) -> dict[str, Check]:
        """Name -> `checked`, for each argument of `sample` that this condition adds."""
        return {self.name: self.checked}

    def gather(self, given: Mapping[str, Any]) -> Any:
        """The value [n, ...] from checked arguments; None where none was given."""
        return given.get(self.name)

    def missing(self, value: Any) -> list[str]:
        """Names of the arguments that a value from `gather` lacks."""
        return [self.name] if value is None else []

    def or_null(self, value: Any, n: int) -> Any:
        """A value from `gather`, `null` for what it lacks."""
        return self.null(n) if value is None else value

    def or_drawn(self, value: Any, keys: Key[Array, "n"]) -> Any:
        """A value from `gather`, drawn where it lacks something. Raises as `draw`."""
        return self.draw(keys) if value is None else value

    def of_batch(self, batch: Mapping[str, Any]) -> Any:
        """The value [B, ...] of a batch. Raises ConfigError or DataError where it does not fit."""
        raise NotImplementedError

    def checked(self, value: Any, n: int) -> Any:
        """The value [n, ...] from one or n of them, None from None. Raises ConfigError."""
        return None if value is None else self.each(_given(self.name, value), n)

    def each(self, value: Any, n: int) -> Any:
        """The value [n, ...] from one or n of them as an array. Raises ConfigError."""
        raise NotImplementedError

    def null(self, n: int) -> Any:
        """What stands for a condition that is not given, [n, ...]."""
        raise NotImplementedError

    def hide(self, value: Any, hidden: Bool[Array, "B"]) -> Any:
        """The value with `null` in the rows that are hidden."""
        row = lambda value, null: jnp.where(
            hidden.reshape(-1, *[1] * (value.ndim - 1)), null, value
        )
        return jax.tree.map(row, value, self.null(len(hidden)))

    def draw(self, keys: Key[Array, "n"]) -> Any:
        """One value for each sample. Raises ConfigError where none can be drawn."""
        raise ConfigError(f"{self.name} is needed: this model was trained with it in every example")


def _found(condition: Condition, batch: Mapping[str, Any], what: str) -> Any:
    if condition.key not in batch:
        has = ", ".join(map(repr, batch))
        raise ConfigError(
            f"{what}, but the data has no {condition.name}s {condition.key!r} (it has: {has})"
        )
    return as_array(f"batch {condition.key!r}", batch[condition.key])


def _given(name: str, value: Any) -> Any:
    try:
        return as_array(name, value)
    except DataError as error:
        raise ConfigError(str(error)) from error


def check_in_range(name: str, noun: str, values: Any, highest: int, error: type[Exception]) -> None:
    """Raise `error` for known values that are not integers in 0 .. highest."""
    whole = jnp.issubdtype(values.dtype, jnp.integer)
    if whole and (not is_known(values) or values.size == 0):
        return
    if not is_known(values) or values.size == 0:
        raise error(f"{name}: {noun} are {shown(values)}, must be integers in [0, {highest}]")
    numbers = np.asarray(values)
    low, high = numbers.min(), numbers.max()
    if not whole or low < 0 or high > highest:
        given = f": {noun} span {low} to {high},"
        if name == "label" and numbers.size <= 16:  # as it was typed
            given = f"={numbers.tolist()}"
        raise error(f"{name}{given} must be integers in [0, {highest}]")


def _numbers(values: Any, highest: int) -> Int[Array, "..."]:
    """int32; of traced values those outside 0 .. highest become a number that no table has."""
    if not is_known(values):
        values = values.astype(jnp.promote_types(values.dtype, jnp.int32))
        inside = (values >= 0) & (values <= highest)
        values = jnp.where(inside, values, jnp.iinfo(jnp.int32).max)
    return jnp.asarray(values, jnp.int32)


@dataclass(frozen=True)
class Labels(Condition):
    """Classes 0 .. num_classes - 1, int32 [B]."""

    name: str = "label"
    key: str = "y"
    num_classes: int = 0

    def of_batch(self, batch: Mapping[str, Any], unlabelled: bool = False) -> Int[Array, "B"]:
        """As `Condition.of_batch`; num_classes is allowed where examples may be `unlabelled`."""
        labels = _found(self, batch, f"condition=labels({self.num_classes})")
        if labels.shape != (len(batch["x"]),):
            raise DataError(
                f"batch {self.key!r} has shape {labels.shape}, must be [{len(batch['x'])}]"
            )
        check_in_range(
            f"batch {self.key!r}", "labels", labels, self.num_classes - (not unlabelled), DataError
        )
        return jnp.asarray(labels, jnp.int32)

    def each(self, value: Any, n: int) -> Int[Array, "n"]:
        if value.shape not in ((), (n,)):
            raise ConfigError(
                f"{self.name} must be one integer or have shape [{n}], got {value.shape}"
            )
        check_in_range(self.name, "labels", value, self.num_classes - 1, ConfigError)
        return jnp.broadcast_to(_numbers(value, self.num_classes - 1), (n,))

    def null(self, n: int) -> Int[Array, "n"]:
        return jnp.full(n, self.num_classes, jnp.int32)

    def draw(self, keys: Key[Array, "n"]) -> Int[Array, "n"]:
        """Each class equally often in the mean."""
        return jax.vmap(lambda key: jax.random.randint(key, (), 0, self.num_classes))(keys)


@dataclass(frozen=True)
class Captions(Condition):
    """Sentences as tokens 1 .. vocabulary - 1, int32 [B, length], padded with 0."""

    name: str = "caption"
    key: str = "caption"
    vocabulary: int = 0
    length: int = 0

    def of_batch(self, batch: Mapping[str, Any]) -> Int[Array, "B T"]:
        what = f"condition=captions({self.vocabulary}, {self.length})"
        tokens = _found(self, batch, what)
        wanted = (len(batch["x"]), self.length)
        if tokens.shape != wanted:
            raise DataError(f"batch {self.key!r} has shape {tokens.shape}, must be {list(wanted)}")
        check_in_range(f"batch {self.key!r}", "tokens", tokens, self.vocabulary - 1, DataError)
        return jnp.asarray(tokens, jnp.int32)

    def each(self, value: Any, n: int) -> Int[Array, "n T"]:
        if value.shape not in ((self.length,), (n, self.length)):
            raise ConfigError(
                f"{self.name} has shape {value.shape}, must be [{self.length}] or "
                f"[{n}, {self.length}]"
            )
        check_in_range(self.name, "tokens", value, self.vocabulary - 1, ConfigError)
        return jnp.broadcast_to(_numbers(value, self.vocabulary - 1), (n, self.length))

    def null(self, n: int) -> Int[Array, "n T"]:
        return jnp.zeros((n, self.length), jnp.int32)


@dataclass(frozen=True)
class Image(Condition):
    """Arrays of one shape in the units of the networks, float32 [B, *shape]."""

    name: str = "image"
    key: str = "image"
    shape: tuple[int, ...] = ()

    def _fits(self, value: Any, n: int, error: type[Exception], name: str) -> Array:
        if value.shape not in (self.shape, (n, *self.shape)):
            raise error(
                f"{name} has shape {value.shape}, must be {list(self.shape)} or {[n, *self.shape]}"
            )
        return jnp.broadcast_to(jnp.asarray(value, jnp.float32), (n, *self.shape))

    def of_batch(self, batch: Mapping[str, Any]) -> Float[Array, "B ..."]:
        found = _found(self, batch, f"condition=image({self.shape})")
        return self._fits(found, len(batch["x"]), DataError, f"batch {self.key!r}")

    def each(self, value: Any, n: int) -> Float[Array, "n ..."]:
        return self._fits(value, n, ConfigError, self.name)

    def null(self, n: int) -> Float[Array, "n ..."]:
        return jnp.zeros((n, *self.shape))


@dataclass(frozen=True)
class Joint(Condition):
    """Several conditions; the value is a dictionary by their names.

    Training hides all parts of an example at once. A part that a call leaves out beside others is
    treated as a condition of its own: `null` where training hid some, drawn or refused elsewhere.
    """

    name: str = "joint"
    key: str = "joint"
    parts: tuple[Condition, ...] = field(default=())

    @property
    def checks(self) -> dict[str, Check]:
        return {part.name: part.checked for part in self.parts}

    def gather(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Parts that were not given are None beside those that were."""
        values = {part.name: part.gather(given) for part in self.parts}
        return values if any(value is not None for value in values.values()) else None

    def missing(self, value: dict[str, Any] | None) -> list[str]:
        return [name for name in self.checks if value is None or value[name] is None]

    def or_null(self, value: dict[str, Any] | None, n: int) -> dict[str, Any]:
        given = {} if value is None else value
        return {part.name: part.or_null(given.get(part.name), n) for part in self.parts}

    def or_drawn(self, value: dict[str, Any] | None, keys: Key[Array, "n"]) -> dict[str, Any]:
        given, named = {} if value is None else value, enumerate(self.parts)
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return {part.name: part.or_drawn(given.get(part.name), fold(keys, i)) for i, part in named}

    def of_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {part.name: part.of_batch(batch) for part in self.parts}

    def checked(self, value: Any, n: int) -> dict[str, Any] | None:
        given = {} if value is None else value
        return self.gather(
            {part.name: part.checked(given.get(part.name), n) for part in self.parts}
        )

    def null(self, n: int) -> dict[str, Any]:
        return self.or_null(None, n)

    def draw(self, keys: Key[Array, "n"]) -> dict[str, Any]:
        return self.or_drawn(None, keys)


def labels(num_classes: int, name: str = "label", key: str = "y") -> Labels:
    """A class of 0 .. num_classes - 1 for each example; batches hold it as `key`.

    >>> from gen_jax import conditions
    >>> conditions.labels(10).num_classes
    10
    >>> conditions.labels(3, name="colour", key="c").name
    'colour'
    """
    check_range("num_classes", num_classes, 1, integer=True)
    return Labels(check_text("name", name), check_text("key", key), int(num_classes))


def captions(vocabulary: int, length: int, name: str = "caption", key: str = "caption") -> Captions:
    """A sentence of up to `length` tokens below `vocabulary` for each example; 0 is padding."""
    check_range("vocabulary", vocabulary, 2, integer=True)
    check_range("length", length, 1, integer=True)
    return Captions(check_text("name", name), check_text("key", key), int(vocabulary), int(length))


def image(shape: tuple[int, ...], name: str = "image", key: str | None = None) -> Image:
    """An array of this shape for each example, such as a degraded image (saharia2022)."""
    key = name if key is None else key
    return Image(check_text("name", name), check_text("key", key), check_shape("shape", shape))


def joint(**conditions: Condition) -> Joint:
    """Several conditions at once, such as `joint(label=labels(10), hint=image((8, 8, 1)))`.

    The words are the names of the arguments of `sample`.
    """
    simple = all(isinstance(c, Condition) and not isinstance(c, Joint) for c in conditions.values())
    if not conditions or not simple:
        raise ConfigError(f"joint({', '.join(conditions)}) needs conditions by name, none joint")
    return Joint(parts=tuple(replace(part, name=name) for name, part in conditions.items()))


def checked_condition(value: Any) -> Condition | None:
    """A `Condition` or None. Raises ConfigError for anything else."""
    if value is None or isinstance(value, Condition):
        return value
    raise ConfigError(
        f"condition={shown(value)} must come from conditions.labels, captions, image or joint"
    )


def drop(key: Key[Array, ""], condition: Condition, value: Any, share: float, n: int) -> Any:
    """A random share of the rows replaced by `null`, so that a network learns both."""
    return condition.hide(value, jax.random.bernoulli(key, share, (n,)))


def num_classes(condition: Condition | None) -> int:
    """K of labels, 0 without a condition. Raises ConfigError for a condition that is no label."""
    if condition is None:
        return 0
    if not isinstance(condition, Labels):
        raise ConfigError(f"condition={condition.name!r} must be labels: this model takes no other")
    return condition.num_classes


def configured(argument: str, network: Any, condition: Condition | None) -> Any:
    """The network, made for this condition: the number of classes is written in one place.

    A network says what it can take by a field `num_classes` or `condition`, which is set here; one
    without these fields is left as it is. Raises ConfigError where the network was made for another
    number of classes, or where it has no place for this condition.
    """
    as_network(argument, network)
    if condition is None or isinstance(condition, Labels):
        wanted = num_classes(condition)
        own = getattr(network, "num_classes", None)
        if own is None or own == wanted:
            return network
        if own:
            raise ConfigError(
                f"condition=labels({wanted}), but the {argument} was made with num_classes={own}"
                if wanted
                else f"the {argument} was made with num_classes={own}, but the model has no "
                f"condition: condition=labels({own})?"
            )
        return network.clone(num_classes=wanted)
    if not hasattr(network, "condition"):
        if hasattr(network, "num_classes"):
            raise ConfigError(f"the {argument} takes labels, not condition={condition.name!r}")
        return network
    if network.condition not in (None, condition):
        raise ConfigError(f"the {argument} was made for another condition than {condition.name!r}")
    return network.clone(condition=condition)


def check_null(network: Any, condition: Condition | None, batch: Any, *inputs: Any) -> None:
    """Raise ConfigError for a user's network without a finite output where labels are hidden.

    An embedding of K rows is NaN at K, "no label". A network with a field `num_classes` or
    `condition` is made for it (`configured`). Nothing is computed while the batch is not known.

    Args:
      inputs: of the network, one row of each, before the condition; read for their shapes.
    """
    labels = [part for part in getattr(condition, "parts", (condition,)) if type(part) is Labels]
    made = hasattr(network, "num_classes") or hasattr(network, "condition")
    if condition is None or not labels or made or not is_known(batch["x"]):
        return

    def output(key):
        whole = (*(jnp.zeros(x.shape, x.dtype) for x in inputs), condition.null(1))
        return network.apply(network.init(key, *whole), *whole)

    with jax.ensure_compile_time_eval():
        leaves = jax.tree.leaves(jax.jit(output)(jax.random.key(0)))
        # A network that closes over what is traced, such as frozen parameters, has no known output.
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in leaves if is_known(leaf))
    if not finite:
        size = labels[0].num_classes
        raise ConfigError(
            f"the network's output for the null condition ({labels[0].name} K={size}) is not "
            f"finite: an embedding needs K + 1 = {size + 1} rows, the last for no label"
        )


def one_hot(label: Int[Array, "n"], num_classes: int) -> Float[Array, "n K"]:
    """Rows of the identity; zeros for the label num_classes, which stands for "no label".

    Labels further out give NaN: under jit `Labels.checked` cannot see them.
    """
    inside = (label >= 0) & (label <= num_classes)
    return jnp.where(inside[:, None], jax.nn.one_hot(label, num_classes), jnp.nan)
