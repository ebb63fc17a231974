"""Models with one callable damaged: Markov chains and transport."""

from damaged.common import PER_POINT, POINTS
from gen_jax import flows, mcmc, transport

CALLABLES = {
    "mcmc.markov_chains/log_density": (
        lambda f: mcmc.markov_chains(
            lambda x: f(-(x**2).sum(1)),
            lambda h: mcmc.random_walk(lambda x: f(-(x**2).sum(1)), h),
            2,
        ),
        PER_POINT,
        POINTS,
    ),
    "transport.temperflow/log_density": (
        lambda f: transport.temperflow(lambda x: f(-(x**2).sum(1)), 2, flows.actnorm()),
        PER_POINT,
        POINTS,
    ),
}
