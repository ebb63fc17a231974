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

from gen_jax.checks import no_type_check, same_shape
from gen_jax.gan.losses import GanLoss, ScoreLoss, gan_loss
from gen_jax.gan.translation import (
    apply,
    check_images,
    check_pair,
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
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.optimization import (
    AveragedState,
    init_state_with_ema,
    optimizer_step,
    optimizer_step_with_ema,
    start_moments,
)
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.ranges import Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, Num


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

    @property
    def params(self) -> tuple[Any, Any]:
        """What is trained: the parameters of both networks."""
        return self.generator.params, self.critic

    @property
    def ema(self) -> Any:
        """The moving average of the generator's parameters."""
        return self.generator.ema


class Pix2PixOptions(NamedTuple):
    """Options of `pix2pix`.

    Fields:
      shape: of a pair, (H, 2 W, C).
      loss: a name in GAN_LOSSES, or a `GanLoss`.
      l1_weight: of the distance from the target.
      ema_decay: of the generator's moving average, which samples.
      transform: `data.Transform` between data units and the networks', or None.
    """

    shape: tuple[int, ...]
    loss: str | GanLoss = "non_saturating"
    l1_weight: Weight = 100.0
    ema_decay: Share = 0.999
    transform: Any = None


class Pix2PixParts(NamedTuple):
    """Networks, optimizers, and what the options come to."""

    generator: Any
    critic: Any
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    loss: GanLoss
    options: Pix2PixOptions

    @property
    def image(self) -> tuple[int, ...]:
        """(H, W, C) of each image of a pair."""
        return check_pair(self.options.shape)

    def scores_of(self, params: Any) -> Callable[[Array, Array], Array]:
        """The critic: `(source, x) -> scores [B, h, w]`."""
        stacked = lambda source, x: jnp.concatenate([source, x], -1)
        return lambda source, x: scores(x, apply(self.critic, params, stacked(source, x)))

    def translate(self, params: Any, source: Array, keys: Key[Array, "B"]) -> Array:
        """The generator's translations."""
        return same_shape("generator", partial(apply, self.generator, params))(source, keys)


@no_type_check
def make_parts(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    options: Pix2PixOptions,
) -> Pix2PixParts:
    """Everything checked and looked up. Raises ConfigError for options that cannot work."""
    check_pair(options.shape)
    check_ranges(options)
    loss = gan_loss(options.loss)
    optimizers = generator_optimizer, critic_optimizer
    return Pix2PixParts(generator, critic, *optimizers, loss, options)


def init_state(parts: Pix2PixParts, key: Key[Array, ""], batch: Batch) -> Pix2PixState:
    """Fresh state; raises ConfigError when the batch or the networks do not fit."""
    check_images(parts.options.shape, parts.options.transform, batch)
    image, (key_generator, key_critic) = parts.image, jax.random.split(key)
    one, pair = jnp.zeros((1, *image)), jnp.zeros((1, *image[:2], 2 * image[2]))
    params = init_params(parts.critic, "critic", key_critic, pair)
    made = init_params(parts.generator, "generator", key_generator, one)
    return Pix2PixState(
        init_state_with_ema(made, parts.generator_optimizer),
        params,
        start_moments(parts.critic_optimizer, params, "critic_optimizer"),
        first_memory(split_pair(batch["x"])[0]),
    )


def step(
    parts: Pix2PixParts, key: Key[Array, ""], state: Pix2PixState, batch: Batch
) -> tuple[Pix2PixState, Metrics]:
    """One update of the critic, then one of the generator against it."""
    options, (encode, _) = parts.options, units(parts.options.transform)
    key_data, key_noise = jax.random.split(key)
    source, target = split_pair(encode(key_data, batch["x"]))
    keys = sample_keys(key_noise, len(source))
    fake = jax.lax.stop_gradient(parts.translate(state.generator.params, source, keys))
    loss_of_critic = lambda params: critic_objective(
        parts.scores_of(params), source, target, fake, parts.loss.critic
    )
    params, moments, judged = optimizer_step(
        loss_of_critic, parts.critic_optimizer, state.critic, state.critic_optimizer
    )

    def loss_of_generator(weights):
        images = source, target, parts.translate(weights, source, keys)
        judge, weight = parts.scores_of(params), options.l1_weight
        return generator_objective(judge, *images, parts.loss.generator, weight)

    made, metrics = optimizer_step_with_ema(
        loss_of_generator, parts.generator_optimizer, options.ema_decay, state.generator
    )
    sources = remember(state.sources, split_pair(batch["x"])[0])
    metrics = report(metrics, "generator", made.params) | report(judged, "critic", params)
    return Pix2PixState(made, params, moments, sources), metrics


def draw_samples(
    parts: Pix2PixParts,
    key: Key[Array, "*batch"],
    state: Pix2PixState,
    n: int,
    *,
    source: Num[Array, "n H W C"] | None = None,
) -> Array:
    """Pairs [n, H, 2 W, C] in data units: sources, and beside them their translations.

    Args:
      source: by default drawn from training sources seen lately.
    """
    (encode, decode), keys = units(parts.options.transform), sample_keys(key, n)
    if source is None:
        source = draw_sources(fold_in(keys, 0), state.sources)
    source = checked_sources(source, n, parts.image)
    seen = encode(fold_in(keys, 1), source)
    made = parts.translate(state.ema, seen, fold_in(keys, 2))
    return join_pair(source, decode(made))


def model_from_parts(parts: Pix2PixParts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples)
    return compiled(model, per_sample={"source": lambda x, n: checked_sources(x, n, parts.image)})


@no_type_check
def pix2pix(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """pix2pix as a `GenerativeModel` of pairs [H, 2 W, C].

    Args:
      generator: `(source [B, H, W, C], keys [B]) -> [B, H, W, C]`, in the transform's units.
      critic: `[B, H, W, 2 C] -> scores [B, h, w]`.
      options: fields of `Pix2PixOptions`; `shape` is needed.
    `sample` takes the arguments of `draw_samples`. Raises ConfigError for options that cannot work.
    """
    optimizers = generator_optimizer, critic_optimizer
    return model_from_parts(
        make_parts(generator, critic, *optimizers, options_from(Pix2PixOptions, options))
    )
