"""Losses of few-step models by name, all of one form."""

from collections.abc import Callable
from functools import partial

from gen_jax.flow_matching.consistency import (
    consistency_loss,
    continuous_consistency_steps_loss,
)
from gen_jax.flow_matching.drifting import drifting_map_loss
from gen_jax.flow_matching.inductive_moment_matching import moment_matching_steps_loss
from gen_jax.flow_matching.lagrangian import lagrangian_loss
from gen_jax.flow_matching.mean_flow import mean_flow_loss
from gen_jax.flow_matching.shortcut import shortcut_loss
from gen_jax.registries import described

TO_DATA = ("consistency", "continuous_consistency")
"""Losses that train jumps to the data alone."""

OF_LAWS = ("moment_matching", "drifting")
"""Losses that compare samples with samples, which have no velocity to guide."""

FEW_STEP_LOSSES: dict[str, Callable] = {
    "mean_flow": mean_flow_loss,
    "improved_mean_flow": described(
        "MeanFlow whose derivative runs along the model's own velocity.",
        partial(mean_flow_loss, tangent="model"),
    ),
    "shortcut": shortcut_loss,
    "consistency": consistency_loss,
    "continuous_consistency": continuous_consistency_steps_loss,
    "lagrangian": lagrangian_loss,
    "moment_matching": moment_matching_steps_loss,
    "drifting": drifting_map_loss,
}
"""`(average, path, x0, x1, t, s) -> ([B], aux)`; rows of a batch depend on each other in the last
two."""
