"""The stages of TemperFlow: where on the tempering curve a run is, and what follows (qiu2024).

The next inverse temperature b is chosen so that KL(p_b || p) falls by a given factor; the reference
is renewed when the divergence has fallen below another mark.
"""

from typing import NamedTuple

import jax.numpy as jnp

from gen_jax.sampling.importance import log_normalizer
from gen_jax.transport.schedule import Schedule
from gen_jax.transport.tempering import bounded_step, log_step, tempering_curve
from gen_jax.types import Array, Float

FIRST, L2, LAST, POLISH, DONE = range(5)
"""Phases: reverse KL at the first b, L2 on the way, L2 at b = 1, a polish at b = 1, nothing."""

REFRESH = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.01, 0.001)
"""The reference is renewed when KL falls below another of these shares of its first value."""


class Stage(NamedTuple):
    """Where on the curve a run is; scalars.

    Fields:
      phase, index: which kind of stage, and how many came before it.
      beta, log_z: inverse temperature, and log of the integral of p^beta as estimated so far.
      count, length, peak: steps done and to do in this stage; peak of its learning rate.
      kl, first_kl: KL(p_b || p) after the stage before, and after the first stage; nats.
      ess: effective share of the flow's draws after the stage before; one that has lost modes for
        good may still show much, one that has come apart shows next to nothing.
      average: of the steps in log beta.
      polishes: how many have begun.
    """

    phase: Array
    index: Array  # type: ignore[assignment]
    beta: Array
    log_z: Array
    count: Array  # type: ignore[assignment]
    length: Array
    peak: Array
    kl: Array
    first_kl: Array
    ess: Array
    average: Array
    polishes: Array


def first_stage(schedule: Schedule) -> Stage:
    """Before the first step."""
    number = lambda value: jnp.asarray(value, jnp.float32)
    peak = schedule.learning_rate / schedule.first_beta**0.5
    return Stage(
        phase=jnp.int32(FIRST),
        index=jnp.int32(0),
        beta=number(schedule.first_beta),
        log_z=number(0),
        count=jnp.int32(0),
        length=jnp.int32(schedule.first_steps),
        peak=number(peak),
        kl=number(0),
        first_kl=number(0),
        ess=number(1),
        average=number(0),
        polishes=jnp.int32(0),
    )


class Next(NamedTuple):
    """The next stage, whether to renew the reference, (beta, KL, log Z) where the last ended."""

    stage: Stage
    renew: Array
    row: Float[Array, "3"]


def next_stage(
    schedule: Schedule, stage: Stage, energy: Float[Array, "N"], log_q: Float[Array, "N"]
) -> Next:
    """What follows a finished stage, from the energies -log p of N draws of the flow."""
    first = stage.phase == FIRST
    here = tempering_curve(energy, log_q, stage.beta)
    step, average = bounded_step(
        log_step(here, stage.beta, schedule.kl_factor), stage.average, first
    )
    beta = jnp.minimum(stage.beta * jnp.exp(step), 1)
    arrived = (beta >= 1) | (stage.index + 1 >= schedule.max_stages)
    after_last = POLISH if schedule.polish_steps else DONE
    onward = jnp.where(arrived, LAST, L2)
    # Reverse KL at b = 1 is the whole of it: no curve to follow.
    after_first = jnp.where(stage.beta >= 1, after_last, onward)
    after_polish = jnp.where(stage.polishes < schedule.polish_rounds, POLISH, DONE)
    table = jnp.stack([after_first, onward, jnp.int32(after_last), after_polish, jnp.int32(DONE)])
    phase = table[stage.phase]
    polishes = stage.polishes + (phase == POLISH)
    beta = jnp.where(phase == L2, beta, 1.0)
    index = stage.index + 1
    steps = jnp.where(beta < 0.5, 2 * schedule.stage_steps, schedule.stage_steps)
    length = jnp.where(phase == POLISH, schedule.polish_steps, steps)
    first_kl = jnp.where(first, here.kl, stage.first_kl)
    marks = jnp.asarray(REFRESH) * first_kl
    renew = first | (jnp.sum(here.kl < marks) > jnp.sum(stage.kl < marks)) | (phase == POLISH)
    peak = schedule.learning_rate * schedule.decay**index / jnp.sqrt(beta)
    if schedule.polish_rate is not None:
        peak = jnp.where(phase == POLISH, schedule.polish_rate, peak)
    following = Stage(
        phase=phase,
        index=index,
        beta=beta,
        log_z=log_normalizer(-beta * energy - log_q).value,
        count=jnp.int32(0),
        length=length,
        peak=peak,
        kl=here.kl,
        first_kl=first_kl,
        ess=here.ess,
        average=average,
        polishes=polishes,
    )
    return Next(following, renew, jnp.stack([stage.beta, here.kl, here.log_z]))
