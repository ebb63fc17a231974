"""TemperFlow: a flow carried along the tempering curve to a target with many modes (qiu2024).

The first stage fits p^b at a small b by reverse KL; each later one moves to a larger b by the L2
sampler, with points from a frozen reference flow; at b = 1 one more L2 stage, then reverse KL as
polish, or forward KL, which is not of the paper. The next b is chosen so that KL(p_b || p) falls by
a given factor. One optimizer step is one `step` of the model; which stage it is in is part of the
state, so one compiled step serves all.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check, per_point
from gen_jax.flows import Bijector, Layer, density
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.randomness import sample_keys
from gen_jax.sampling.importance import log_normalizer
from gen_jax.transport.forward_kl import forward_kl_loss
from gen_jax.transport.l2 import log_l2_distance
from gen_jax.transport.refine import MARGIN, refine
from gen_jax.transport.reverse_kl import reverse_kl_loss
from gen_jax.transport.schedule import Schedule, one_cycle
from gen_jax.transport.stages import DONE, LAST, Stage, first_stage, next_stage
from gen_jax.types import Array, Batch, Float, Key, Metrics, State

NEW_WEIGHT = 0.8
"""Weight of the newest batch in log Z."""

MEASURED_BATCHES = 10
"""Batches of samples that measure the curve between stages."""

ADAM = optax.scale_by_adam()

LOWEST = -1e5
"""Stands for a log-density that is -inf or NaN."""


class TemperState(NamedTuple):
    """The flow, the frozen reference, Adam's moments, the stage, and (beta, KL, log Z) so far."""

    params: State
    reference: State
    optimizer: State
    stage: Stage
    history: Float[Array, "stages 3"]


class Parts(NamedTuple):
    """What a run is made of: the guarded density, its dimension, the flow, the schedule."""

    log_density: Callable[[Array], Array]
    dim: int
    layer: Layer
    schedule: Schedule

    def draw(self, key: Key[Array, "*batch"], params: State, n: int) -> tuple[Array, Array]:
        """n samples of the flow and their log q; one key, or one per sample."""
        return density.sample(key, self.layer.bijector(params), n, self.dim)

    def measure(self, key: Key[Array, ""], params: State) -> tuple[Array, Array]:
        """Energies -log p and log q of many samples of the flow, [N] each."""
        keys = jax.random.split(key, MEASURED_BATCHES)
        draw = lambda key: self.draw(key, params, self.schedule.batch_size)
        x, log_q = jax.lax.map(draw, keys)
        return -jax.vmap(self.log_density)(x).reshape(-1), log_q.reshape(-1)


@no_type_check
def make_parts(
    log_density: Callable[[Array], Array], dim: int, layer: Layer, schedule: Schedule | None = None
) -> Parts:
    """The parts of a model. Raises ConfigError for a bad schedule."""
    schedule = schedule or Schedule()
    schedule.check()

    def guarded(x):
        value = per_point("log_density", log_density)(x)
        return jnp.where(jnp.isfinite(value), value, LOWEST)

    return Parts(guarded, dim, layer, schedule)


def init_state(parts: Parts, key: Key[Array, ""], batch: Batch | None = None) -> TemperState:
    """The state before the first step."""
    params, schedule = parts.layer.init(key, parts.dim), parts.schedule
    copy = jax.tree.map(jnp.copy, params)
    history = jnp.zeros((schedule.max_stages + 1 + schedule.polish_rounds, 3))
    return TemperState(params, copy, ADAM.init(params), first_stage(schedule), history)


def step(
    parts: Parts, key: Key[Array, ""], state: TemperState, batch: Batch | None = None
) -> tuple[TemperState, Metrics]:
    """One optimizer step, and the next stage where this one has ended."""
    key_improve, key_advance = jax.random.split(key)
    stage = state.stage
    idle = lambda state, key: (state, {"loss": jnp.zeros(()), "skipped": jnp.zeros(())})
    work = partial(_improve, parts)
    state, metrics = jax.lax.cond(stage.phase == DONE, idle, work, state, key_improve)
    ended = (stage.phase != DONE) & (state.stage.count >= state.stage.length)
    same, onward = lambda state, key: state, partial(_advance, parts)
    state = jax.lax.cond(ended, onward, same, state, key_advance)
    now = {"beta": stage.beta, "stage": stage.index, "kl": stage.kl, "ess": stage.ess}
    return state, {**metrics, **now, "log_z": state.stage.log_z}


def draw_samples(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: TemperState,
    n: int,
    *,
    refined: bool = False,
    margin: float = MARGIN,
) -> Float[Array, "n D"]:
    """Samples of the flow, or `refined` by rejection with the bound `margin` on p / (q Z)."""
    propose = lambda keys: parts.draw(keys, state.params, len(keys))
    if not refined:
        return propose(sample_keys(key, n))[0]
    log_z = _log_normalizer(parts, state)
    return refine(key, propose, parts.log_density, log_z, n, margin=margin)[0]


def log_prob(
    parts: Parts, key: Key[Array, "*batch"] | None, state: TemperState, x: Float[Array, "B D"]
) -> Float[Array, "B"]:
    """log q(x) of the flow in nats."""
    return density.log_density(parts.layer.bijector(state.params), x)


def bijector(model: GenerativeModel, state: State) -> Bijector:
    """The trained flow of a `temperflow`. Raises ConfigError for another model."""
    parts, own = parts_of(model, state, Parts)
    return parts.layer.bijector(own.params)


def model_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    return compiled(assemble(parts, init_state, step, draw_samples, log_prob, "exact"))


@no_type_check
def temperflow(
    log_density: Callable[[Array], Array],
    dim: int,
    layer: Layer,
    schedule: Schedule | None = None,
) -> GenerativeModel:
    """TemperFlow as a model that needs no data: `step` ignores its batch.

    Args:
      log_density: `x [B, D] -> [B]`, unnormalised; values that are not finite count as -1e5.
      layer: the flow, forward from the base to the data.
    `sample` takes the arguments of `draw_samples`. Steps after the last stage change nothing.
    Raises ConfigError for a bad schedule, and at the first step unless `log_density` returns [B].
    """
    return model_from_parts(make_parts(log_density, dim, layer, schedule))


def _log_normalizer(parts: Parts, state: TemperState) -> Float[Array, ""]:
    """log Z of p itself: the stage's, or, where that is of p^b or of nothing yet, a new estimate.

    Its draws are the same at each call, so that no sample depends on those it is drawn with.
    """

    def estimate():
        energy, log_q = parts.measure(jax.random.key(0), state.params)
        return log_normalizer(-energy - log_q).value

    return jax.lax.cond(state.stage.phase >= LAST, lambda: state.stage.log_z, estimate)


def _reverse_kl(parts: Parts, params: State, state: TemperState, key: Array):
    """Loss of the first and the last stage, and log Z as it was."""
    z = jax.random.normal(key, (parts.schedule.batch_size, parts.dim))
    bijector = parts.layer.bijector(params)
    loss, _ = reverse_kl_loss(parts.log_density, bijector, z, state.stage.beta)
    return loss.mean(), state.stage.log_z


def _at_reference(parts: Parts, params: State, state: TemperState, key: Array):
    """log q, b log p and log r at points of the reference, and log Z with this batch in it."""
    x, log_r = parts.draw(key, state.reference, parts.schedule.batch_size)
    log_p = state.stage.beta * parts.log_density(x)
    newest = log_normalizer(log_p - log_r).value
    log_z = NEW_WEIGHT * newest + (1 - NEW_WEIGHT) * state.stage.log_z
    log_q = density.log_density(parts.layer.bijector(params), x)
    return log_q, log_p, log_r, log_z


def _l2(parts: Parts, params: State, state: TemperState, key: Array):
    """Loss of the stages between."""
    log_q, log_p, log_r, log_z = _at_reference(parts, params, state, key)
    return log_l2_distance(log_q, log_p - log_z, log_r), log_z


def _forward_kl(parts: Parts, params: State, state: TemperState, key: Array):
    """Loss of a polish by forward KL."""
    log_q, log_p, log_r, log_z = _at_reference(parts, params, state, key)
    return forward_kl_loss(log_q, log_p, log_r)[0].mean(), log_z


def _improve(parts: Parts, state: TemperState, key: Array) -> tuple[TemperState, Metrics]:
    """One optimizer step; one whose loss or gradient is not finite is skipped."""
    stage = state.stage
    polish = _forward_kl if parts.schedule.polish == "forward_kl" else _reverse_kl
    losses = (_reverse_kl, _l2, _l2, polish)  # by phase
    gradients = [jax.value_and_grad(partial(loss, parts), has_aux=True) for loss in losses]
    (loss, log_z), gradient = jax.lax.switch(stage.phase, gradients, state.params, state, key)
    rate = one_cycle(stage.count, stage.length, stage.peak)
    usable = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
    updates, moments = ADAM.update(gradient, state.optimizer)
    params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
    keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(usable, a, b), new, old)
    state = state._replace(
        params=keep(params, state.params),
        optimizer=keep(moments, state.optimizer),
        stage=stage._replace(count=stage.count + 1, log_z=keep(log_z, stage.log_z)),
    )
    return state, {"loss": jnp.where(usable, loss, 0), "skipped": 1 - usable.astype(jnp.float32)}


def _advance(parts: Parts, state: TemperState, key: Array) -> TemperState:
    """Measure the curve with draws of the flow, and begin the next stage."""
    energy, log_q = parts.measure(key, state.params)
    following = next_stage(parts.schedule, state.stage, energy, log_q)
    fresh = lambda a, b: jnp.where(following.renew, a, b)
    return TemperState(
        state.params,
        jax.tree.map(fresh, state.params, state.reference),
        ADAM.init(state.params),
        following.stage,
        state.history.at[state.stage.index].set(following.row),
    )


def anneal(
    key: Key[Array, ""],
    model: GenerativeModel,
    *,
    max_steps: int = 200_000,
    chunk: int = 200,
    watch: Callable[[int, TemperState, Metrics], None] | None = None,
) -> TemperState:
    """Run a TemperFlow model to its end without `training.fit`; nothing is saved.

    Args:
      chunk: steps per compiled call.
      watch: `(step, state, metrics [chunk])`, called after each.
    """
    key_init, key_steps = jax.random.split(key)
    state = model.init(key_init, None)

    @jax.jit
    def run(state, start):
        body = lambda state, i: model.step(jax.random.fold_in(key_steps, i), state, None)
        return jax.lax.scan(body, state, start + jnp.arange(chunk))

    for start in range(0, max_steps, chunk):
        state, metrics = run(state, start)
        if watch is not None:
            watch(start + chunk, state, metrics)
        if int(state.stage.phase) == DONE:
            break
    return state
