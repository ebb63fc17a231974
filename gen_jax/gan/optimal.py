"""The optimal critic of each loss where both densities are known, for checks and pictures."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float

_logit = lambda log_ratio: log_ratio

OPTIMAL_CRITICS: dict[str, Callable[[Array], Array]] = {
    "minimax": _logit,
    "non_saturating": _logit,
    "lsgan": jax.nn.sigmoid,
    "lsgan_pearson": lambda log_ratio: jnp.tanh(log_ratio / 2),
    "hinge": jnp.sign,
    "relativistic": _logit,
    "f_kl": lambda log_ratio: 1 + log_ratio,
    "f_reverse_kl": _logit,
    "f_jensen_shannon": _logit,
    "f_squared_hellinger": lambda log_ratio: log_ratio / 2,
    "f_chi_square": lambda log_ratio: 2 * jnp.expm1(log_ratio),
    "f_neyman_chi_square": lambda log_ratio: 2 * log_ratio,
}
"""log(p / q) -> score; "relativistic" up to a constant. Those of "wgan" (a transport potential),
"f_total_variation" (infinite) and "began" (no function of the ratio) are not here."""


def optimal_critic(loss: str, log_ratio: Float[Array, "..."]) -> Float[Array, "..."]:
    """The score that minimises a critic's loss, from log(p / q), p the data's density."""
    name = loss.removesuffix("_non_saturating")
    name = loss if loss in OPTIMAL_CRITICS else name
    if name not in OPTIMAL_CRITICS:
        raise ConfigError(
            f"loss={loss!r} has no optimal critic that is a function of the density ratio "
            f"(choose from: {', '.join(OPTIMAL_CRITICS)})"
        )
    return OPTIMAL_CRITICS[name](log_ratio)
