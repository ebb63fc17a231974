"""The value of a condition that a call of `sample` or `log_prob` gives, or does not give.

A condition that is not given is `null` in a model that was trained with hidden conditions
(`condition_dropout` above 0). In one that was not, each sample draws its own, and `log_prob` is
that of such samples.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.conditions import Condition, Labels
from gen_jax.errors import ConfigError, check_choice, check_finite, shown
from gen_jax.types import Array, Float, Key


def value_of(condition: Condition | None, given: Mapping[str, Any], n: int) -> Any:
    """The value [n, ...] from the arguments of a call; None where none is given.

    Of a `Joint` condition parts may be None: `null_or_needed` and `null_or_drawn` fill them.

    Raises ConfigError for a name that is not the condition's, and for values that do not fit.
    """
    checks = {} if condition is None else condition.checks
    for name, value in given.items():
        if value is not None and not checks:
            raise ConfigError(f"{name} was given, but the model was trained without a condition")
        if checks:
            check_choice("condition", name, checks)
    if condition is None:
        return None
    return condition.gather({name: check(given.get(name), n) for name, check in checks.items()})


def check_complete(condition: Condition | None, value: Any, why: str) -> None:
    """Raise ConfigError that names what a value of `value_of` lacks, and why it is needed."""
    if condition is not None and (missing := condition.missing(value)):
        are = "is" if len(missing) == 1 else "are"
        raise ConfigError(f"{' and '.join(missing)} {are} needed: {why}")


def null_or_needed(condition: Condition | None, dropout: float, value: Any, n: int) -> Any:
    """The value, `null` for what is not given of it, where training hid some (`dropout` > 0).

    Raises ConfigError where it hid none: there the network has learnt nothing about `null`.
    """
    if condition is None:
        return value
    if dropout == 0:
        check_complete(condition, value, "this model was trained with it in every example")
    return condition.or_null(value, n)


def null_or_drawn(
    condition: Condition | None, dropout: float, value: Any, keys: Key[Array, "n"]
) -> Any:
    """As `null_or_needed`, but where training hid none each sample draws its own value."""
    if condition is None or dropout > 0:
        return null_or_needed(condition, dropout, value, len(keys))
    return condition.or_drawn(value, keys)


def names_of(condition: Condition | None) -> str:
    """The words that give a model its condition, for messages."""
    return "a model with a condition" if condition is None else " or ".join(condition.checks)


def is_guidance(weight: Any) -> bool:
    """Whether a weight is another than the plain number 1. Raises ConfigError unless finite."""
    if check_finite("guidance", weight) is None:
        raise ConfigError("guidance=None must be a number, or one for each sample")
    return not (isinstance(weight, int | float) and weight == 1)


def is_guided(
    guidance: Any, condition: Condition | None, dropout: float, value: Any, instead: str = ""
) -> bool:
    """Whether a call asks for classifier-free guidance by a weight other than 1.

    Raises ConfigError for what is no finite number, and where nothing can guide: no condition is
    given, or training hid none. `instead` is added to what is needed.
    """
    if not is_guidance(guidance):
        return False
    if value is None:
        raise ConfigError(f"guidance={shown(guidance)} needs {names_of(condition)}{instead}")
    if dropout == 0:
        raise ConfigError(
            f"guidance={shown(guidance)} needs a model trained with condition_dropout above 0"
            f"{instead}: this one has learnt nothing without its condition"
        )
    return True


def log_prob_over(
    condition: Condition | None,
    dropout: float,
    value: Any,
    n: int,
    log_prob: Callable[[Any], Float[Array, "n"]],
) -> Float[Array, "n"]:
    """`log_prob(value)`; of a value that is not given the log-density of the samples drawn so.

    That is `log_prob(null)` where training hid some, and else log (1/K) sum_y p(x | y) over all
    labels y. Raises ConfigError for a condition that is no label and that training never hid.
    """
    if value is not None or dropout > 0 or not isinstance(condition, Labels):
        return log_prob(null_or_needed(condition, dropout, value, n))
    one = lambda label: log_prob(jnp.full(n, label, jnp.int32))
    each = jax.lax.map(one, jnp.arange(condition.num_classes))
    return jax.nn.logsumexp(each, axis=0) - jnp.log(condition.num_classes)
