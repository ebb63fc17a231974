"""What the models of flows share: checks of the data, labels as rows, averages of draws."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from gen_jax.condition_values import log_prob_over, null_or_drawn, null_or_needed, value_of
from gen_jax.conditions import Labels, checked_condition, num_classes, one_hot
from gen_jax.data_units import HasUnits, Units, check_data
from gen_jax.errors import check_range
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import check_ranges
from gen_jax.types import Array, Batch, Float, Int, Key


@runtime_checkable
class TrainOptions(HasUnits, Protocol):
    """What the options of `flow` and `ffjord` have in common."""

    @property
    def condition(self) -> Labels | None: ...

    @property
    def condition_dropout(self) -> float: ...

    @property
    def ema_decay(self) -> float: ...


def check_training(options: TrainOptions) -> None:
    """Raise ConfigError for a condition that is no label, and for numbers out of range."""
    check_ranges(options)
    num_classes(checked_condition(options.condition))


def check_batch(options: TrainOptions, batch: Batch, transform: Any) -> None:
    """Raise ConfigError for examples of another shape, or without the labels that are needed;
    DataError for values that the transform does not take.
    """
    if options.condition is not None:
        options.condition.of_batch(batch)
    check_data(Units(tuple(options.shape), transform), batch["x"])


def as_rows(options: TrainOptions, label: Int[Array, "n"] | None) -> Float[Array, "n K"] | None:
    """Labels as one-hot rows, zeros for "no label"; None of a model without a condition."""
    if options.condition is None or label is None:
        return None
    return one_hot(label, options.condition.num_classes)


def batch_rows(options: TrainOptions, batch: Batch) -> Float[Array, "B K"] | None:
    """The labels of a batch as rows."""
    return (
        None if options.condition is None else as_rows(options, options.condition.of_batch(batch))
    )


def hidden_rows(
    key: Key[Array, ""], options: TrainOptions, batch: Batch
) -> Float[Array, "B K"] | None:
    """`batch_rows` with a random share of them hidden."""
    condition = options.condition
    if condition is None:
        return None
    label = condition.of_batch(batch)
    kept = jax.random.bernoulli(key, 1 - options.condition_dropout, label.shape)
    return as_rows(options, condition.hide(label, ~kept))


def given_rows(
    options: TrainOptions, given: Mapping[str, Any], n: int
) -> Float[Array, "n K"] | None:
    """The rows of a call's condition; see `condition_values.null_or_needed`."""
    condition, dropout = options.condition, options.condition_dropout
    label = value_of(condition, given, n)
    return as_rows(options, null_or_needed(condition, dropout, label, n))


def sampled_rows(
    options: TrainOptions, given: Mapping[str, Any], keys: Key[Array, "n"]
) -> Float[Array, "n K"] | None:
    """The same for samples, which draw a label where training hid none."""
    condition, dropout = options.condition, options.condition_dropout
    label = value_of(condition, given, len(keys))
    return as_rows(options, null_or_drawn(condition, dropout, label, fold_in(keys, 1)))


def average_over(
    options: TrainOptions,
    given: Mapping[str, Any],
    score: Callable[[Key[Array, "B"], Any], Float[Array, "B"]],
    key: Key[Array, "*batch"],
    n: int,
    draws: int,
) -> Float[Array, "B"]:
    """log of the mean of exp(score(keys, rows)) over `draws` sets of keys, one for each example.

    For a log-density of dequantised data it is the importance-weighted bound (burda2016). `given`
    is the call's condition, see `condition_values.log_prob_over`.
    """
    check_range("draws", draws, 1, integer=True)
    keys, condition = sample_keys(key, n), options.condition

    def average(label):
        rows = as_rows(options, label)
        if draws == 1:
            return score(keys, rows)
        values = jax.lax.map(lambda i: score(fold_in(keys, i), rows), jnp.arange(draws))
        return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)

    label = value_of(condition, given, n)
    return log_prob_over(condition, options.condition_dropout, label, n, average)
