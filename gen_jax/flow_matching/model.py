"""Flow matching: the diffusion assembly with a velocity, any source and a coupling."""

from collections.abc import Callable

import optax

from gen_jax.checks import no_type_check
from gen_jax.diffusion import Stepper, diffusion
from gen_jax.divergences.couplings import COUPLINGS
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.paths import GaussianPath, linear


@no_type_check
def flow_matching(
    network,
    optimizer: optax.GradientTransformation,
    *,
    path: str | GaussianPath | None = None,
    coupling: str | Callable | None = "independent",
    stepper: str | Stepper = "adams",
    **options,
) -> GenerativeModel:
    """Conditional flow matching; `options` are the fields of `diffusion.Options`.

    Args:
      network: predicts the velocity; Flax module `(x, noise, label or None) -> [B, *shape]`.
      path: linear (rectified flow, liu2023) unless another is given.
      coupling: a name in COUPLINGS, or `(key, x0, x1) -> indices [B]` into x1.
    A batch may hold its own pairs, "x0" and "x1" [B, *shape] in the path's units (`paired_data`).
    With a source that is not Gaussian or a coupling that is not independent, samplers that need the
    score are refused; the deterministic ones follow the velocity alone.

    >>> import optax
    >>> from gen_jax import flow_matching, nets
    >>> model = flow_matching.flow_matching(
    ...     nets.MLP((64, 64)), optax.adam(1e-3), shape=(2,), coupling="sinkhorn"
    ... )
    >>> model.log_prob_kind
    'estimate'
    """
    if isinstance(coupling, str):
        check_choice("coupling", coupling, COUPLINGS)
        # Independent noise in any order is independent: nothing needs to be permuted.
        coupling = None if coupling in ("independent", "paired") else COUPLINGS[coupling]
    return diffusion(
        network,
        linear() if path is None else path,
        optimizer,
        coupling=coupling,
        stepper=stepper,
        **{"prediction": "velocity", "time_density": "low_discrepancy", **options},
    )
