"""Maximum likelihood of an energy, p(x) = exp(-E(x)) / Z, by samples of the model (hinton2002).

    grad of -log p(x) = grad E(x) - E_p[grad E]

needs no log Z: the energy falls on data and rises on the model's own samples. The step is
theta - eta (grad E(data) - grad E(samples)); lecture deck S2 has another sign.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.annotations import floats
from gen_jax.checks import per_point
from gen_jax.errors import check_range
from gen_jax.types import Array, Bool, Float


@floats(x="...", samples="...")
def contrastive(
    energy: Callable[[Array], Array],
    x: Float[Array, "B ..."],
    samples: Float[Array, "B ..."],
    valid: Bool[Array, "B"] | None = None,
    *,
    regulariser: float = 0.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """E(x) - E(sample) + regulariser (E(x)^2 + E(sample)^2), the squares after du2019 eq. 6.

    Its mean has the gradient of the mean -log p(x) when the samples are the model's; it is no
    likelihood itself.

    Args:
      energy: `x [B, ...] -> [B]`, in nats.
      samples: of the model; no gradient flows into them.
      valid: samples that count (all, unless given); when none does the loss is NaN.
      regulariser: weight of the squares, which keep the energies near 0.
    Returns the loss [B] and the energies [B]: "energy_data", "energy_samples" (0 if not valid).
    """
    check_range("regulariser", regulariser, 0)
    energy = per_point("energy", energy)
    samples = jax.lax.stop_gradient(samples)
    weight = jnp.ones(len(x), x.dtype)
    if valid is not None:
        samples = jnp.where(valid.reshape(-1, *[1] * (x.ndim - 1)), samples, x)
        weight = jnp.where(valid, len(x) / valid.sum(), 0.0).astype(x.dtype)
    data, model = energy(x), energy(samples)
    loss = data - weight * model + regulariser * (data**2 + weight * model**2)
    if valid is not None:
        loss = jnp.where(valid.any(), loss, jnp.nan)
    return loss, {"energy_data": data, "energy_samples": weight * model}
