"""What critic and generator minimise on one share of a batch, all options put together."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.gan.began import began
from gen_jax.gan.losses import GanLoss, ranking_accuracy
from gen_jax.gan.matching import differs, halfway, matching_loss, of_the_next
from gen_jax.gan.networks import apply_critic, draw_latent, generate
from gen_jax.gan.options import Options, Parts
from gen_jax.gan.orthogonal import orthogonal_penalty
from gen_jax.gan.penalties import Penalty
from gen_jax.gan.remedies import annealed, feature_matching, instance_noise, mean_leaf
from gen_jax.gan_nets.critic_output import CriticOutput
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Int, Key, Metrics


class UpdateInputs(NamedTuple):
    """What one update sees besides the two networks' parameters.

    Fields:
      key: of everything random in it.
      x: real examples [B, *shape] in the networks' units, as the generator's `shown` has them.
      condition: [B, ...] of real and generated ones, or None.
      generator_stats, critic_stats: collections before the update.
      balance: k of "began".
    """

    key: Key[Array, ""]
    x: Float[Array, "B ..."]
    condition: Any
    generator_stats: Any
    critic_stats: Any
    balance: Float[Array, ""]
    step: Int[Array, ""]


Outcome = tuple[Float[Array, ""], tuple[Metrics, Any]]
"""A loss, metrics, and the collections of the network that minimises it."""


def losses_of(parts: Parts, scene: UpdateInputs) -> GanLoss:
    """The losses of scores, at the present k for "began"."""
    return began(scene.balance) if parts.loss is None else parts.loss


def _fake(parts: Parts, generator: Any, scene: UpdateInputs):
    """(examples, latents, the generator's collections after the call)."""
    keys = sample_keys(jax.random.fold_in(scene.key, 0), len(scene.x))
    z = draw_latent(keys, parts.options)
    fake, stats = generate(
        parts, generator, scene.generator_stats, keys, z, scene.condition, scene.step, train=True
    )
    return fake, z, stats


def _seen(parts: Parts, key: Key[Array, ""], x: Array, scene: UpdateInputs) -> Array:
    """What the critic is shown: augmented, then with instance noise."""
    options = parts.options
    if parts.augment is not None:
        x = parts.augment(jax.random.fold_in(key, 0), x)
    if options.instance_noise:
        std = annealed(options.instance_noise, scene.step, options.instance_noise_steps)
        x = instance_noise(jax.random.fold_in(key, 1), x, std)
    return x


def _judge(
    parts: Parts, critic: Any, scene: UpdateInputs, x: Array, name: int
) -> tuple[CriticOutput, Any]:
    """What the critic says of x, and its collections; `name` numbers the call's key."""
    key = jax.random.fold_in(scene.key, name)
    seen = _seen(parts, key, x, scene)
    key = jax.random.fold_in(key, 2)
    return apply_critic(
        parts, critic, scene.critic_stats, key, seen, scene.condition, scene.step, train=True
    )


def code_loss(
    found: Float[Array, "B C"], code: Float[Array, "B C"], options: Options
) -> Float[Array, "B"]:
    """-log q(code | x) up to a constant: categories, and numbers with unit variance (chen2016)."""
    categories = options.code[0]
    loss = 0.5 * jnp.sum((found[:, categories:] - code[:, categories:]) ** 2, 1)
    if categories:
        target = code[:, :categories]
        loss = loss + optax.softmax_cross_entropy(found[:, :categories], target)
    return loss


def _named(parts: Parts, judgements: list[CriticOutput], scene: UpdateInputs) -> Metrics:
    """Cross-entropy of the labels, a sum over judgements (odena2017 eq. 3); {} but for "ac"."""
    if parts.options.conditional != "ac":
        return {}
    entropy = optax.softmax_cross_entropy_with_integer_labels
    losses = [entropy(j.logits, scene.condition) for j in judgements]
    return {"class_loss": sum(map(jnp.mean, losses), jnp.zeros(()))}


def _recovered(parts: Parts, judgement: CriticOutput, z: Array) -> Metrics:
    """How badly the code is recovered; {} but for "info"."""
    options = parts.options
    if judgement.code is None or options.conditional != "info":
        return {}
    return {"code_loss": jnp.mean(code_loss(judgement.code, z[:, options.latent :], options))}


def _extra(parts: Parts, terms: Metrics) -> Float[Array, ""] | float:
    options = parts.options
    weights = {"class_loss": options.class_weight, "code_loss": options.code_weight}
    return sum(weights[name] * value for name, value in terms.items())


def penalty_of(
    parts: Parts, penalty: Penalty, critic: Any, scene: UpdateInputs, fake: Array
) -> Float[Array, ""]:
    """The weighted penalty: of slopes by the raw examples, through the augmentation."""
    key = jax.random.fold_in(scene.key, 3)

    def scores(x):
        if parts.augment is not None:
            x = parts.augment(jax.random.fold_in(key, 0), x)
        state = scene.critic_stats, None, x, scene.condition, scene.step
        return apply_critic(parts, critic, *state)[0].score

    def value(every):
        each = penalty(jax.random.fold_in(key, 1), scores, scene.x, fake)
        return every * parts.penalty_weight * jnp.mean(each)

    every = parts.options.lazy_interval
    if every == 1:
        return value(1.0)
    due = scene.step % every == 0
    return jax.lax.cond(due, lambda: value(float(every)), lambda: jnp.zeros((), scene.x.dtype))


def _critic_scores_loss(
    parts: Parts, critic: Any, scene: UpdateInputs, real: Array, fake: Array
) -> tuple[Float[Array, ""], Metrics]:
    """The critic's loss of its scores, also of mismatched conditions where the options say so."""
    loss, share = losses_of(parts, scene).critic, parts.options.matching
    if not share:
        return jnp.mean(loss(real, fake)), {}
    other = of_the_next(scene.condition)
    wrong = _judge(parts, critic, scene._replace(condition=other), scene.x, 4)[0].score
    each = matching_loss(loss, real, wrong, fake, differs(scene.condition, other), share)
    return jnp.mean(each), {"mismatched_score": jnp.mean(wrong)}


def critic_loss(parts: Parts, critic: Any, generator: Any, scene: UpdateInputs) -> Outcome:
    """Loss of the critic with its penalty.

    Real and generated examples are judged in separate calls from the same collections; those after
    both are averaged: the power iterations of both are the same, statistics are of both halves.
    """
    fake, z, _ = _fake(parts, generator, scene)
    real_seen, stats = _judge(parts, critic, scene, scene.x, 1)
    fake_seen, fake_stats = _judge(parts, critic, scene, fake, 2)
    loss, more = _critic_scores_loss(parts, critic, scene, real_seen.score, fake_seen.score)
    terms = _named(parts, [real_seen, fake_seen], scene) | _recovered(parts, fake_seen, z)
    metrics = {
        "critic_loss": loss,
        "real_score": jnp.mean(real_seen.score),
        "fake_score": jnp.mean(fake_seen.score),
        "critic_accuracy": ranking_accuracy(real_seen.score, fake_seen.score),
        **more,
    }
    total = loss + _extra(parts, terms)
    if parts.penalty is not None:
        metrics["penalty"] = penalty_of(parts, parts.penalty, critic, scene, fake)
        total = total + metrics["penalty"]
    stats = jax.tree.map(lambda *both: mean_leaf(jnp.stack(both)), stats, fake_stats)
    return total, (metrics | terms, stats)


def _interpolated_loss(
    parts: Parts, critic: Any, generator: Any, scene: UpdateInputs, real: Array
) -> Float[Array, ""]:
    """The generator's loss under means of two conditions, from latents of its own."""
    between = scene._replace(
        key=jax.random.fold_in(scene.key, 5),
        condition=halfway(scene.condition, of_the_next(scene.condition)),
    )
    fake, _, _ = _fake(parts, generator, between)
    score = _judge(parts, critic, between, fake, 2)[0].score
    return jnp.mean(losses_of(parts, scene).generator(real, score))


def generator_loss(parts: Parts, critic: Any, generator: Any, scene: UpdateInputs) -> Outcome:
    """Loss of the generator; the critic's collections do not move."""
    options = parts.options
    fake, z, stats = _fake(parts, generator, scene)
    real_seen, _ = _judge(parts, critic, scene, scene.x, 1)
    fake_seen, _ = _judge(parts, critic, scene, fake, 2)
    loss = jnp.mean(losses_of(parts, scene).generator(real_seen.score, fake_seen.score))
    metrics = {"generator_loss": loss}
    total = options.adversarial * loss
    total = total + _extra(
        parts, _named(parts, [fake_seen], scene) | _recovered(parts, fake_seen, z)
    )
    if options.interpolation:
        metrics["interpolated_loss"] = _interpolated_loss(
            parts, critic, generator, scene, real_seen.score
        )
        total = total + options.interpolation * metrics["interpolated_loss"]
    if options.feature_matching:
        pair: Any = real_seen.features, fake_seen.features  # checked by `init`
        matched = feature_matching(*pair)
        metrics["feature_matching"] = matched
        total = total + options.feature_matching * matched
    if options.orthogonal:
        metrics["orthogonal"] = orthogonal_penalty(generator)
        total = total + options.orthogonal * metrics["orthogonal"]
    return total, (metrics, stats)
