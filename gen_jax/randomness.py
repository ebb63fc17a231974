"""One key per sample, so that a sample depends neither on its batch nor on the devices."""

import jax
import jax.numpy as jnp

from gen_jax.checks import as_key, no_type_check
from gen_jax.errors import check_range
from gen_jax.types import Array, Key, Num


@no_type_check
def sample_keys(key: Key[Array, "*batch"], n: int) -> Key[Array, "n"]:
    """One key per sample: its index folded into `key`; or `key` itself if it has shape [n] already.

    So a sample does not depend on the batch it is drawn in, nor on the number of devices. Raises
    ConfigError for another number of keys, and for what is no key of `jax.random`.
    """
    key = as_key("key", key, check_range("n", n, 1, integer=True))
    if key.ndim == 1:
        return key
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))


def fold_in(keys: Key[Array, "n"], data: int | Array) -> Key[Array, "n"]:
    """Fold one number (a step index, the name of a use) into each sample's key."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, data)


def normal(keys: Key[Array, "n"], shape: tuple[int, ...], dtype=jnp.float32) -> Num[Array, "n ..."]:
    """Standard normal noise [n, *shape], one key per sample."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)
