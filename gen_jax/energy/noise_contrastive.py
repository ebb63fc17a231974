"""Noise-contrastive estimation (gutmann2010): a model fitted by classifying data and noise.

The log-density comes with its constant, log p(x) = -E(x) - c, and c is learned with the rest: it
ends at log Z, as the minimiser is the data's density itself, normalised.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.batching import check_rows
from gen_jax.checks import per_point
from gen_jax.energy.implicit import per_example
from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float


@floats(x="...", noise="...")
def noise_contrastive(
    log_density: Callable[[Array], Array],
    log_noise: Callable[[Array], Array],
    x: Float[Array, "B ..."],
    noise: Float[Array, "M ..."],
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """-log P(data | x) - sum over nu noise points of log P(noise | y) (gutmann2010 eq. 3).

    P(data | x) = p(x) / (p(x) + nu q(x)), nu = M / B noise points for each of the data.

    Args:
      log_density: `x [N, ...] -> [N]` in nats, with its learned constant.
      log_noise: of the noise's density q, normalised.
      noise: independent draws of q.
    Returns the loss [B] and under "accuracy" the share classified rightly, [B].
    Raises ConfigError unless M is a multiple of B, and for no data.
    """
    check_rows("x", x)
    if len(noise) % len(x):
        raise ConfigError(f"noise has {len(noise)} points, allowed: a multiple of {len(x)}")
    nu = len(noise) // len(x)
    log_density, log_noise = (
        per_point("log_density", log_density),
        per_point("log_noise", log_noise),
    )
    logit = lambda x: log_density(x) - log_noise(x) - jnp.log(jnp.asarray(nu, x.dtype))
    data, other = logit(x), logit(noise).reshape(len(x), nu)
    loss = jax.nn.softplus(-data) + per_example(jax.nn.softplus(other))
    right = (data > 0) + per_example((other < 0).astype(x.dtype))
    return loss, {"accuracy": right / (1 + nu)}
