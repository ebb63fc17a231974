"""Sampling known distributions: targets with exact samplers to measure every method against."""

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
    "TARGETS",
    "Target",
    "banana",
    "clayton",
    "cross",
    "funnel",
    "grid",
    "logistic_regression",
    "make_target",
    "many_well",
    "ring",
]
