"""The exact denoiser of a small joint distribution: the truth for networks, bounds and samplers."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from gen_jax.checks import as_floats, is_known, no_type_check
from gen_jax.discrete_diffusion.token_path import TokenPath, check_tokens
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, TokenDenoiser


@no_type_check
def table_denoiser(table: Float[Array, "..."], path: TokenPath) -> TokenDenoiser:
    """log p(x0_i = v | x_t) when p(x0) = table[x0_1, .., x0_N], by summing over all of it.

    Where x_t is impossible, its tokens are taken to be independent.
    Raises ConfigError for a table whose axes do not have as many entries as there are data tokens,
    and for negative entries or none above 0; the denoiser for tokens out of range.
    """
    table = as_floats("table", table, finite=True)
    size, length = len(path.noise), table.ndim
    if table.shape not in ((size,) * length, (size - 1,) * length) or not length:
        raise ConfigError(f"table {table.shape} must have an entry for each of {size} tokens")
    values = np.asarray(table) if is_known(table) else np.ones(1)
    if not ((values >= 0).all() and values.any()):
        raise ConfigError("table must hold probabilities: none below 0, and some above")
    count = table.shape[0]
    others = lambda i: tuple(j for j in range(length) if j != i)

    def one(x_t, t):
        a = path.keep(t)
        tokens = jnp.arange(count)
        # [N, count]: log q(x_t_i | x0_i = v)
        noisy = jnp.log(a * (x_t[:, None] == tokens) + (1 - a) * path.noise[x_t][:, None])
        joint = jnp.log(table)
        for i in range(length):
            joint = joint + jnp.expand_dims(noisy[i], others(i))
        given_all = [logsumexp(joint, axis=others(i)) for i in range(length)]
        # Tokens drawn at once may be impossible together: each then follows its own marginal.
        given_own = [logsumexp(jnp.log(table), axis=others(i)) + noisy[i] for i in range(length)]
        possible = jnp.isfinite(logsumexp(joint))
        log_x0 = jnp.where(possible, jnp.stack(given_all), jnp.stack(given_own))
        log_x0 = jax.nn.log_softmax(log_x0, axis=-1)
        return jnp.pad(log_x0, ((0, 0), (0, size - count)), constant_values=-jnp.inf)

    def denoise(x_t, t):
        x_t = check_tokens(path, x_t, "x_t", noisy=True)
        return jax.vmap(one)(x_t, jnp.broadcast_to(t, x_t.shape[:1]))

    return denoise
