"""Sampling known distributions: from uniform numbers to mixtures, and targets to measure against.

Uniforms are arguments: `lcg` or `jax.random` make them, `box_muller` and `inverse_cdf` shape them,
`gaussian`, `categorical` and `ancestral` build joint laws; `rejection` and `importance` reach
densities known up to a constant.
"""

from gen_jax.sampling import (
    ancestral,
    box_muller,
    categorical,
    discretized_logistic,
    gaussian,
    importance,
    inverse_cdf,
    lcg,
    rejection,
)
from gen_jax.sampling.inverse_cdf import QUANTILES
from gen_jax.sampling.lcg import GENERATORS
from gen_jax.sampling.slerp import slerp
from gen_jax.sampling.targets import (
    TARGETS,
    Target,
    banana,
    clayton,
    cross,
    funnel,
    grid,
    logistic_regression,
    make_target,
    many_well,
    ring,
)

__all__ = [
    "GENERATORS",
    "QUANTILES",
    "TARGETS",
    "Target",
    "ancestral",
    "banana",
    "box_muller",
    "categorical",
    "clayton",
    "cross",
    "discretized_logistic",
    "funnel",
    "gaussian",
    "grid",
    "importance",
    "inverse_cdf",
    "lcg",
    "logistic_regression",
    "make_target",
    "many_well",
    "rejection",
    "ring",
    "slerp",
]
