"""What is refused at the door: log-densities that do not give one number per point."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array


def check_per_point(name: str, values: Any, count: int) -> Any:
    """Return `values` if they are floating-point numbers [count]; else raise ConfigError.

    [count, 1] would broadcast to [count, count] against another [count], and [] to all of it.
    """
    shape, dtype = jnp.shape(values), jnp.result_type(values)
    if shape != (count,) or not jnp.issubdtype(dtype, jnp.floating):
        raise ConfigError(
            f"{name} returned shape {shape} of {dtype}, allowed: one number per point, {(count,)}"
        )
    return values


def checked(
    log_density: Callable[[Any], Array], name: str = "log_density"
) -> Callable[[Any], Array]:
    """The log-density of points [B, ...], which raises ConfigError while traced unless it is [B].

    Points may be a pytree; `name` is what the error calls the function.
    """
    return lambda x: check_per_point(name, log_density(x), len(jax.tree.leaves(x)[0]))
