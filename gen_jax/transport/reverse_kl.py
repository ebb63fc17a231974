"""Reverse KL: the baseline of measure transport, samples of the flow scored by the target."""

from collections.abc import Callable

from gen_jax.checks import per_point
from gen_jax.flows import Bijector
from gen_jax.flows.density import push
from gen_jax.types import Array, Float


def reverse_kl_loss(
    log_density: Callable[[Array], Array],
    bijector: Bijector,
    z: Float[Array, "B D"],
    beta: float | Float[Array, ""] = 1.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """log q(x) - beta log p(x) in nats at x = T(z), with x and log q in aux.

    Its mean over z ~ N(0, I) is KL(q || p_beta) - log Z, Z the integral of p^beta (rezende2015
    section 4.4). Modes that q does not visit cost nothing: it may drop them.
    Raises ConfigError unless `log_density` returns [B].
    """
    x, log_q = push(bijector, z)
    return log_q - beta * per_point("log_density", log_density)(x), {"x": x, "log_q": log_q}
