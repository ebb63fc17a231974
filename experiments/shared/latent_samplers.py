"""Samplers of a known density of latents, side by side: flows, Markov chains, exact draws."""

import time
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax

from experiments.shared.chain_options import KernelOptions, kernel_of
from gen_jax import mcmc
from gen_jax.flows import spline_flow
from gen_jax.sampling import Target
from gen_jax.transport import Schedule, anneal, bijector, density, temperflow
from gen_jax.types import Array, Float, Key

CHAINS, ADAPTATION = 100, 500
"""Markov chains, and the steps that find their step size."""

KERNELS = {
    "Metropolis-Hastings": ("random_walk", 0.15),
    "HMC": ("hmc", mcmc.TARGET_ACCEPTANCE["hmc"]),
    "parallel tempering": ("parallel_tempering", 0.25),
}
"""Kernel and the acceptance that its step size is tuned to."""

EXACT, TEMPERFLOW, REFINED, REVERSE_KL = "exact", "TemperFlow", "refined", "reverse KL"


class Drawn(NamedTuple):
    """Samples [N, D] of a sampler, the seconds they took, log-weights [N] where they have some."""

    samples: Float[Array, "N D"]
    seconds: float
    log_weights: Float[Array, "N"] | None = None


def exact(key: Key[Array, ""], target: Target, n: int) -> Float[Array, "n D"]:
    """n exact samples."""
    assert target.sample is not None
    return target.sample(key, n)


def by_flow(
    key: Key[Array, ""], target: Target, config: Any, schedule: Schedule, refined: bool = False
) -> tuple[list[Drawn], int]:
    """Draws of a flow fitted by a schedule, if wanted refined ones too; the steps of its fit.

    `config` has the number of draws `num`, the `flow` and the `margin` of refinement.
    """
    layer = spline_flow(**asdict(config.flow))
    model = temperflow(target.log_density, target.dim, layer, schedule)
    key_train, key_draw = jax.random.split(key)
    taken = [0]
    begun = time.perf_counter()
    watch = lambda step, state, metrics: taken.append(step)
    state = anneal(key_train, model, watch=watch)
    fitted = time.perf_counter() - begun

    @partial(jax.jit, static_argnames="refined")
    def draw(key, refined):
        z = model.sample(key, state, config.num, refined=refined, margin=config.margin)
        return z, target.log_density(z) - density.log_density(bijector(model, state), z)

    found = []
    for again in (False, True)[: 1 + refined]:
        begun = time.perf_counter()
        z, log_weights = jax.block_until_ready(draw(key_draw, again))
        seconds = fitted + time.perf_counter() - begun
        found.append(Drawn(z, seconds, None if again else log_weights))
    return found, taken[-1]


def by_chains(
    key: Key[Array, ""], target: Target, config: Any, name: str, acceptance: float
) -> Drawn:
    """`config.num` states of chains from N(0, I), with a tuned step size.

    Each spends `config.evaluations` log-densities, the first sixth of them on the way in.
    """
    begun = time.perf_counter()
    key_start, key_adapt, key_run, key_order = jax.random.split(key, 4)
    make = partial(kernel_of, KernelOptions(), name, target.log_density)
    x = jax.random.normal(key_start, (CHAINS, target.dim))
    adapted = mcmc.adapt_step_size(key_adapt, make, x, ADAPTATION, target=acceptance)
    kernel = make(float(adapted.step_size))
    steps, kept = config.evaluations // kernel.evaluations, -(-config.num // CHAINS)
    burn_in = steps // 6
    thin = max((steps - burn_in) // kept, 1)
    samples, _ = mcmc.run(key_run, kernel, adapted.x, kept, burn_in=burn_in, thin=thin)
    order = jax.random.permutation(key_order, kept * CHAINS)[: config.num]
    z = jax.block_until_ready(samples.reshape(-1, target.dim)[order])
    return Drawn(z, time.perf_counter() - begun)


def draw_all(key: Key[Array, ""], target: Target, config: Any) -> dict[str, Drawn]:
    """Every sampler's draws; reverse KL alone gets as many steps as TemperFlow took."""
    key_exact, key_flow, key_chains = jax.random.split(key, 3)
    drawn = {EXACT: Drawn(exact(key_exact, target, config.num), 0.0)}
    flows, steps = by_flow(key_flow, target, config, config.schedule, refined=True)
    drawn |= dict(zip((TEMPERFLOW, REFINED), flows))
    alone = replace(config.schedule, first_beta=1.0, first_steps=steps, polish_steps=0)
    drawn[REVERSE_KL] = by_flow(key_flow, target, config, alone)[0][0]
    for title, (name, acceptance) in KERNELS.items():
        drawn[title] = by_chains(key_chains, target, config, name, acceptance)
    return drawn
