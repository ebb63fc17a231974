"""Missing data: imputation by the posterior (rezende2014, appendix F).

Missing values are filled in turn with draws of p(x | z) at z ~ q(z | x): a Gibbs sampler, whose law
in the limit is p(x_missing | x_observed) where q is the model's exact posterior.
"""

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError, check_range
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Bool, Key, Num
from gen_jax.vae.coder import VAEFunctions
from gen_jax.vae.likelihoods import sample_each
from gen_jax.vae.posterior import choose_stratum


def impute(
    key: Key[Array, "*batch"],
    functions: VAEFunctions,
    x: Num[Array, "B ..."],
    observed: Bool[Array, "B ..."],
    *,
    rounds: int = 50,
    mean: bool = False,
) -> Num[Array, "B ..."]:
    """x with the values that are not `observed` drawn anew, after `rounds` rounds.

    Args:
      x: the values of missing entries are where the chain starts; they must be ones that the
        likelihood allows.
      mean: the last round fills in E[x | z] instead of a draw.
    Raises ConfigError unless `observed` has x's shape, or for fewer than one round.
    """
    check_range("rounds", rounds, 1, integer=True)
    if observed.shape != x.shape:
        raise ConfigError(f"observed has shape {observed.shape}, x {x.shape}")
    keys = sample_keys(key, len(x))

    def decoded(x, index):
        own = fold_in(keys, index)
        posterior = functions.posterior(x)
        drawn = posterior.draw(posterior.params, fold_in(own, 0))
        return functions.decode(choose_stratum(fold_in(own, 1), drawn)), own

    def body(x, index):
        raw, own = decoded(x, index)
        drawn = sample_each(functions.likelihood, fold_in(own, 2), raw).astype(x.dtype)
        return jnp.where(observed, x, drawn), None

    x, _ = jax.lax.scan(body, x, jnp.arange(rounds - mean))
    if not mean:
        return x
    means = functions.likelihood.mean(decoded(x, rounds)[0])
    whole = jnp.issubdtype(x.dtype, jnp.integer)
    return jnp.where(observed, x, (jnp.round(means) if whole else means).astype(x.dtype))
