"""Measure transport: flows fitted to known densities, by reverse KL or along a tempering curve."""

from gen_jax.flows import density
from gen_jax.transport.forward_kl import forward_kl_loss
from gen_jax.transport.l2 import l2_objective, log_l2_distance, log_squared_difference
from gen_jax.transport.refine import MARGIN, Refinement, refine
from gen_jax.transport.reverse_kl import reverse_kl_loss
from gen_jax.transport.schedule import Schedule, one_cycle
from gen_jax.transport.stages import Stage
from gen_jax.transport.temperflow import TemperState, anneal, bijector, temperflow
from gen_jax.transport.tempering import Curve, bounded_step, log_step, tempering_curve

__all__ = [
    "MARGIN",
    "Curve",
    "Refinement",
    "Schedule",
    "Stage",
    "TemperState",
    "anneal",
    "bijector",
    "bounded_step",
    "density",
    "forward_kl_loss",
    "l2_objective",
    "log_l2_distance",
    "log_squared_difference",
    "log_step",
    "one_cycle",
    "refine",
    "reverse_kl_loss",
    "temperflow",
    "tempering_curve",
]
