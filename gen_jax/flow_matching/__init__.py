"""Flow matching on any Gaussian path, with any source and coupling; samplers are diffusion's.

Few-step models learn an average velocity U(x, t, s): `flow_map_model` with FEW_STEP_LOSSES, `jump`.
"""

from gen_jax.flow_matching.consistency import consistency_loss, continuous_consistency_loss
from gen_jax.flow_matching.coupled import coupled, coupled_batch
from gen_jax.flow_matching.distillation import distilled_flow_map
from gen_jax.flow_matching.drifting import drift, drifting_loss, drifting_map_loss
from gen_jax.flow_matching.few_step import FEW_STEP_LOSSES
from gen_jax.flow_matching.flow_map import denoiser, flow_map, jump
from gen_jax.flow_matching.flow_map_model import (
    FewSteps,
    average_velocity,
    flow_map_model,
    trained_map,
)
from gen_jax.flow_matching.inductive_moment_matching import (
    moment_matching_loss,
    moment_matching_steps_loss,
)
from gen_jax.flow_matching.lagrangian import lagrangian_loss
from gen_jax.flow_matching.losses import conditional_flow_matching_loss
from gen_jax.flow_matching.mean_flow import mean_flow_loss
from gen_jax.flow_matching.mixture_flow_map import mixture_flow_map
from gen_jax.flow_matching.model import flow_matching
from gen_jax.flow_matching.reflow import paired_data, reflow_pairs, straightness
from gen_jax.flow_matching.shortcut import shortcut_loss
from gen_jax.flow_matching.targets import guided_pairs, taught_pairs

__all__ = [
    "FEW_STEP_LOSSES",
    "FewSteps",
    "average_velocity",
    "conditional_flow_matching_loss",
    "consistency_loss",
    "continuous_consistency_loss",
    "coupled",
    "coupled_batch",
    "denoiser",
    "distilled_flow_map",
    "drift",
    "drifting_loss",
    "drifting_map_loss",
    "flow_map",
    "flow_map_model",
    "flow_matching",
    "guided_pairs",
    "jump",
    "lagrangian_loss",
    "mean_flow_loss",
    "mixture_flow_map",
    "moment_matching_loss",
    "moment_matching_steps_loss",
    "paired_data",
    "reflow_pairs",
    "shortcut_loss",
    "straightness",
    "taught_pairs",
    "trained_map",
]
