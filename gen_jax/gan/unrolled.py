"""The unrolled generator step: its loss is that of a critic k steps ahead (metz2017).

The generator's gradient goes through those k steps: it sees that the critic will answer, and does
not put all its mass where the critic of this moment is weakest.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax


def unrolled_critic(
    critic_loss: Callable[[Any], jax.Array],
    optimizer: optax.GradientTransformation,
    params: Any,
    moments: Any,
    k: int,
) -> Any:
    """The critic's parameters after k steps of its optimizer on one loss; differentiable.

    Args:
      critic_loss: `parameters -> []`; what it closes over (generated examples) is differentiated.
    """

    def ahead(carry, _):
        params, moments = carry
        updates, moments = optimizer.update(jax.grad(critic_loss)(params), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    return jax.lax.scan(ahead, (params, moments), None, k)[0][0]
