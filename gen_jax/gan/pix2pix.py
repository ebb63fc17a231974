"""pix2pix: from an image to its other form, learnt from pairs (isola2017).

The critic sees source and target stacked along the channels and scores patches; the generator
minimises its part of the loss plus `l1_weight` times E|target - G(source)| (isola2017 eq. 4). Its
noise is dropout, also in sampling. (The paper halves the critic's loss, to which Adam is blind.)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gen_jax.checks import no_type_check, same_shape
from gen_jax.errors import check_range
from gen_jax.gan.losses import GanLoss, ScoreLoss, gan_loss
from gen_jax.gan.translation import (
    apply,
    check_images,
    check_pair,
    check_weights,
    checked_sources,
    distance,
    draw_sources,
    first_memory,
    init_params,
    join_pair,
    patch_loss,
    remember,
    report,
    scores,
    split_pair,
    units,
)
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import (
    AveragedState,
    init_state_with_ema,
    optimizer_step,
    optimizer_step_with_ema,
    start_moments,
)
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Num


def generator_objective(
    critic: Callable[[Array, Array], Array],
    source: Float[Array, "B H W C"],
    target: Float[Array, "B H W C"],
    made: Float[Array, "B H W C"],
    loss: ScoreLoss,
    l1_weight: float = 100.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """What the generator minimises, per pair, and its parts; `made` is its G(source).

    Args:
      critic: `(source, image) -> scores [B, h, w]`.
      loss: the generator's, of real and generated scores.
    """
    adversarial = patch_loss(loss, critic(source, target), critic(source, made))
    l1 = distance(made, target)
    return adversarial + l1_weight * l1, {"adversarial": adversarial, "l1": l1}


def critic_objective(
    critic: Callable[[Array, Array], Array],
    source: Float[Array, "B H W C"],
    target: Float[Array, "B H W C"],
    made: Float[Array, "B H W C"],
    loss: ScoreLoss,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """What the critic minimises, per pair, and its scores; arguments as above."""
    real, fake = critic(source, target), critic(source, made)
    return patch_loss(loss, real, fake), {"real_score": real, "fake_score": fake}


class Pix2PixState(NamedTuple):
    """The generator with its average, the critic, both optimizers' states, sources seen last."""

    generator: AveragedState
    critic: Any
    critic_optimizer: Any
    sources: Num[Array, "M H W C"]


@no_type_check
def pix2pix(
    generator: nn.Module,
    critic: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    loss: str | GanLoss = "non_saturating",
    l1_weight: float = 100.0,
    ema_decay: float = 0.999,
    transform: Any = None,
) -> GenerativeModel:
    """pix2pix as a `GenerativeModel` of pairs [H, 2 W, C].

    Args:
      generator: `(source [B, H, W, C], keys [B]) -> [B, H, W, C]`, in the transform's units.
      critic: `[B, H, W, 2 C] -> scores [B, h, w]`.
      shape: (H, 2 W, C).
      loss: a name in GAN_LOSSES, or a `GanLoss`.
    `sample(key, state, n, source=None)` returns pairs: the sources, [n, H, W, C] in data units or
    drawn from training sources seen lately, and beside them their translations. Each step updates
    the critic, then the generator against it. Raises ConfigError for options that cannot work.
    """
    image = check_pair(shape)
    critic_loss, generator_loss = gan_loss(loss)
    check_weights(l1_weight=l1_weight)
    check_range("ema_decay", ema_decay, 0, 1)
    encode, decode = units(transform)

    def scores_of(params):
        stacked = lambda source, x: jnp.concatenate([source, x], -1)
        return lambda source, x: scores(x, apply(critic, params, stacked(source, x)))

    def translate(params, source, keys):
        return same_shape("generator", partial(apply, generator, params))(source, keys)

    def init(key, batch):
        check_images(shape, transform, batch)
        key_generator, key_critic = jax.random.split(key)
        one, pair = jnp.zeros((1, *image)), jnp.zeros((1, *image[:2], 2 * image[2]))
        params = init_params(critic, "critic", key_critic, pair)
        made = init_state_with_ema(
            init_params(generator, "generator", key_generator, one), generator_optimizer
        )
        sources = first_memory(split_pair(batch["x"])[0])
        return Pix2PixState(
            made, params, start_moments(critic_optimizer, params, "critic_optimizer"), sources
        )

    def step(key, state, batch):
        key_data, key_noise = jax.random.split(key)
        source, target = split_pair(encode(key_data, batch["x"]))
        keys = sample_keys(key_noise, len(source))
        fake = jax.lax.stop_gradient(translate(state.generator.params, source, keys))
        loss = lambda params: critic_objective(scores_of(params), source, target, fake, critic_loss)
        params, moments, judged = optimizer_step(
            loss, critic_optimizer, state.critic, state.critic_optimizer
        )

        def loss_of_generator(weights):
            images = source, target, translate(weights, source, keys)
            return generator_objective(scores_of(params), *images, generator_loss, l1_weight)

        made, metrics = optimizer_step_with_ema(
            loss_of_generator, generator_optimizer, ema_decay, state.generator
        )
        sources = remember(state.sources, split_pair(batch["x"])[0])
        metrics = report(metrics, "generator", made.params) | report(judged, "critic", params)
        return Pix2PixState(made, params, moments, sources), metrics

    def sample(key, state, n, source=None):
        keys = sample_keys(key, n)
        if source is None:
            source = draw_sources(fold_in(keys, 0), state.sources)
        source = checked_sources(source, n, image)
        seen = encode(fold_in(keys, 1), source)
        made = translate(state.generator.ema, seen, fold_in(keys, 2))
        return join_pair(source, decode(made))

    trained = lambda state: (state.generator.params, state.critic)
    model = GenerativeModel(init, step, sample, parameters=trained)
    return compiled(model, per_sample={"source": lambda x, n: checked_sources(x, n, image)})
