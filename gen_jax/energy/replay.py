"""A replay buffer of chains (tieleman2008, du2019): updates go on where others ended."""

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Bool, Float, Int, Key


def draw(
    key: Key[Array, ""],
    buffer: Float[Array, "N ..."],
    fresh: Float[Array, "B ..."],
    reinit: float,
) -> tuple[Int[Array, "B"], Float[Array, "B ..."]]:
    """B different rows of the buffer and where their chains start: there, or at `fresh`.

    Args:
      reinit: probability, for each, of starting at `fresh` instead (0.05 in du2019).
    Raises ConfigError when the buffer has fewer than B rows.
    """
    count = len(fresh)
    if len(buffer) < count:
        raise ConfigError(f"buffer_size={len(buffer)} is below the batch size {count}")
    key_rows, key_restart = jax.random.split(key)
    rows = jax.random.choice(key_rows, len(buffer), (count,), replace=False)
    restart = jax.random.bernoulli(key_restart, reinit, (count,))
    return rows, choose(restart, fresh, buffer[rows])


def write(
    buffer: Float[Array, "N ..."],
    rows: Int[Array, "B"],
    x: Float[Array, "B ..."],
    valid: Bool[Array, "B"],
    fresh: Float[Array, "B ..."],
) -> Float[Array, "N ..."]:
    """The buffer with its rows at the new ends; those not valid start again at `fresh`."""
    return buffer.at[rows].set(choose(valid, x, fresh))


def choose(
    condition: Bool[Array, "B"], x: Float[Array, "B ..."], y: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
    """x where the condition holds, y elsewhere."""
    return jnp.where(condition.reshape(-1, *[1] * (x.ndim - 1)), x, y)
