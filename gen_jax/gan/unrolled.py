"""The unrolled generator step: its loss is that of a critic k steps ahead (metz2017).

The generator's gradient goes through those k steps: it sees that the critic will answer, and does
not put all its mass where the critic of this moment is weakest.
"""

from collections.abc import Callable
from typing import Any

import jax


def unrolled(step: Callable[[Any, Any], tuple[Any, Any]], critic: Any, moments: Any, k: int) -> Any:
    """The critic's parameters after k of its own steps; differentiable.

    Args:
      step: `(parameters, optimizer's state) -> (the same, after a step)`, all that a step of the
        critic does (its projection too); what it closes over (generated examples) is
        differentiated.
    """
    return jax.lax.scan(lambda carry, _: (step(*carry), None), (critic, moments), None, k)[0][0]
