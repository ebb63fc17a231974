"""One update of the critic and one of the generator, with the remedies that act on updates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.gan.began import convergence, next_balance
from gen_jax.gan.consensus import add_scaled, consensus_gradients
from gen_jax.gan.objectives import UpdateInputs, critic_loss, generator_loss
from gen_jax.gan.options import GanState, Parts
from gen_jax.gan.remedies import accumulated, clip_weights, keep_where, split_batch
from gen_jax.gan.unrolled import unrolled
from gen_jax.gan_nets.critic_output import shown_by
from gen_jax.optimization import apply_gradient, moving_average
from gen_jax.types import Array, Batch, Key, Metrics


def update_inputs(parts: Parts, state: GanState, key: Key[Array, ""], part: Batch) -> UpdateInputs:
    """What an update sees of the state, with encoded examples as the generator shows them."""
    stats = state.generator_stats, state.critic_stats
    x = shown_by(parts.generator, part["x"], state.step)
    return UpdateInputs(key, x, part.get("condition"), *stats, state.balance, state.step)


def _scenes(parts: Parts, state: GanState, key: Key[Array, ""], part: Batch) -> list[UpdateInputs]:
    """One for each part of an accumulated gradient."""
    pieces = split_batch(part, parts.options.accumulate, "accumulate")
    return [
        update_inputs(parts, state, jax.random.fold_in(key, i), p) for i, p in enumerate(pieces)
    ]


def _descend(loss: Callable, params: Any, scenes: list[UpdateInputs]):
    """((value, (metrics, collections)), gradient), means over the scenes."""
    return accumulated(lambda scene: jax.value_and_grad(loss, has_aux=True)(params, scene), scenes)


def _consensus(parts: Parts, state: GanState, scene: UpdateInputs) -> tuple[Any, Any]:
    critic = lambda c, g: critic_loss(parts, c, g, scene)[0]
    generator = lambda c, g: generator_loss(parts, c, g, scene)[0]
    return consensus_gradients(critic, generator, state.critic, state.generator)


def _critic_step(
    parts: Parts,
    critic: Any,
    moments: Any,
    gradient: Any,
    accuracy: Array,
    value: Array,
    value_fn: Callable[[Any], Array],
) -> tuple[Any, Any]:
    """The optimizer's step and the projection; the old critic where it ranks too well."""
    after, moved = apply_gradient(
        parts.critic_optimizer, gradient, moments, critic, value, value_fn
    )
    if parts.options.clip:
        after = clip_weights(after, parts.options.clip)
    if parts.options.freeze_above == 1:
        return after, moved
    return keep_where(accuracy > parts.options.freeze_above, (critic, moments), (after, moved))


def update_critic(
    parts: Parts, state: GanState, key: Key[Array, ""], part: Batch
) -> tuple[GanState, Metrics]:
    """One step of the critic's optimizer, then the projection; no step while it is too strong.

    The metric "critic_norm" is of the parameters after it: where they are lost in this update, a
    run stops with the critic's name, and not with that of the generator that meets them first.
    """
    options, scenes = parts.options, _scenes(parts, state, key, part)
    loss = lambda critic, scene: critic_loss(parts, critic, state.generator, scene)
    (value, (metrics, stats)), gradient = _descend(loss, state.critic, scenes)
    metrics["critic_gradient"] = optax.tree.norm(gradient)
    if options.consensus:
        extra, _ = _consensus(parts, state, scenes[0])
        gradient = add_scaled(gradient, extra, options.consensus)
    accuracy = metrics["critic_accuracy"]
    of_critic = lambda critic: loss(critic, scenes[0])[0]
    critic, moments = _critic_step(
        parts, state.critic, state.critic_optimizer, gradient, accuracy, value, of_critic
    )
    metrics["critic_norm"] = optax.tree.norm(critic)
    if options.freeze_above < 1:
        metrics["critic_frozen"] = (accuracy > options.freeze_above).astype(jnp.float32)
    return state._replace(critic=critic, critic_optimizer=moments, critic_stats=stats), metrics


def _critic_ahead(parts: Parts, state: GanState, scene: UpdateInputs) -> Callable[[Any], Any]:
    """The critic that the generator plays against, as a function of the generator."""
    if not parts.options.unroll:
        return lambda generator: state.critic

    def ahead(generator):
        def step(critic, moments):
            loss = lambda critic: critic_loss(parts, critic, generator, scene)
            (value, (metrics, _)), gradient = jax.value_and_grad(loss, has_aux=True)(critic)
            accuracy, of_critic = metrics["critic_accuracy"], lambda critic: loss(critic)[0]
            return _critic_step(parts, critic, moments, gradient, accuracy, value, of_critic)

        return unrolled(step, state.critic, state.critic_optimizer, parts.options.unroll)

    return ahead


def update_generator(
    parts: Parts, state: GanState, key: Key[Array, ""], part: Batch
) -> tuple[GanState, Metrics]:
    """One step of the generator's optimizer and of its moving average."""
    options, scenes = parts.options, _scenes(parts, state, key, part)

    def loss(generator, scene):
        critic = _critic_ahead(parts, state, scene)(generator)
        return generator_loss(parts, critic, generator, scene)

    (value, (metrics, stats)), gradient = _descend(loss, state.generator, scenes)
    metrics["generator_gradient"] = optax.tree.norm(gradient)
    if options.consensus:
        _, extra = _consensus(parts, state, scenes[0])
        gradient = add_scaled(gradient, extra, options.consensus)
    generator, moments = apply_gradient(
        parts.generator_optimizer,
        gradient,
        state.generator_optimizer,
        state.generator,
        value,
        lambda generator: loss(generator, scenes[0])[0],
    )
    metrics["generator_norm"] = optax.tree.norm(generator)
    present = {"params": generator, **stats}
    after = state._replace(
        generator=generator,
        generator_stats=stats,
        generator_optimizer=moments,
        ema=moving_average(state.ema, present, state.step, options.ema_decay),
    )
    return after, metrics


def rebalanced(parts: Parts, state: GanState, metrics: Metrics) -> tuple[GanState, Metrics]:
    """k of the next step, for "began"; the metrics "balance" and "convergence"."""
    if parts.loss is not None:
        return state, metrics
    options = parts.options
    real, fake = metrics["real_score"], metrics["fake_score"]
    k = next_balance(state.balance, real, fake, options.diversity, options.balance_rate)
    found = {"balance": k, "convergence": convergence(real, fake, options.diversity)}
    return state._replace(balance=k), metrics | found
