"""Forward KL by importance sampling: the step of adaptive importance samplers."""

import jax

from gen_jax.annotations import shaped
from gen_jax.types import Array, Float


@shaped()
def forward_kl_loss(
    log_q: Float[Array, "B"], log_p: Float[Array, "B"], log_r: Float[Array, "B"]
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """-log q(x) in nats, weighted by p(x) / r(x), at x ~ r; the weights w in aux average to 1.

    Its mean estimates KL(p || q) plus the entropy of p / Z, by self-normalised weights (cappe2008
    section 3.1). A mode that r reaches counts for as much as it weighs in p, however little of r is
    there, so that weights of modes are mended; one that r never reaches is not found.
    """
    weights = log_q.shape[0] * jax.lax.stop_gradient(jax.nn.softmax(log_p - log_r))
    return -weights * log_q, {"weights": weights}
