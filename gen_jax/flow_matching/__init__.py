"""Flow matching on any Gaussian path, with any source and coupling; samplers are diffusion's."""

from gen_jax.flow_matching.losses import conditional_flow_matching_loss
from gen_jax.flow_matching.model import flow_matching

__all__ = ["conditional_flow_matching_loss", "flow_matching"]
