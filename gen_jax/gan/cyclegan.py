"""CycleGAN: between two sets of images without pairs (zhu2017).

G takes the left domain A to the right domain B, F takes B to A. With a loss of scores (least
squares in zhu2017, sec. 4), the generators minimise

    adv(D_B(G(a))) + adv(D_A(F(b))) + cycle_weight (|F(G(a)) - a| + |G(F(b)) - b|)
                                    + identity_weight (|G(b) - b| + |F(a) - a|)

with norms per number; the critics see generated images through pools of old ones. The authors'
least squares lack the 1/2 of `lsgan`: weights of 10 and 5 here are 20 and 10 in their code.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import no_type_check, same_shape
from gen_jax.errors import check_choice
from gen_jax.gan.image_pool import empty_pool, exchange
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
from gen_jax.ranges import Natural, Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Float, Key, Metrics, Num

DIRECTIONS = ("forward", "backward")


class Domains(NamedTuple):
    """Something of the left domain (A) and of the right one (B)."""

    left: Any
    right: Any


def generators_objective(
    forward: Callable[[Array], Array],
    backward: Callable[[Array], Array],
    judges: Domains,
    images: Domains,
    loss: ScoreLoss,
    cycle_weight: float = 10.0,
    identity_weight: float = 5.0,
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """What both generators minimise, per pair of images, and its parts.

    Args:
      forward, backward: `[B, H, W, C] -> [B, H, W, C]`, G and F.
      judges: of each domain, `[B, H, W, C] -> scores [B, h, w]`.
      images: real ones.
      loss: the generator's, of real and generated scores.
    """
    fakes = Domains(backward(images.right), forward(images.left))
    judged = [patch_loss(loss, d(x), d(y)) for d, x, y in zip(judges, images, fakes)]
    adversarial = judged[0] + judged[1]
    cycle = distance(backward(fakes.right), images.left)
    cycle += distance(forward(fakes.left), images.right)
    total, metrics = adversarial + cycle_weight * cycle, {"adversarial": adversarial}
    metrics["cycle"] = cycle
    if identity_weight:
        identity = distance(forward(images.right), images.right)
        metrics["identity"] = identity + distance(backward(images.left), images.left)
        total += identity_weight * metrics["identity"]
    return total, metrics


def critics_objective(
    judges: Domains, images: Domains, shown: Domains, loss: ScoreLoss
) -> tuple[Float[Array, "B"], dict[str, Array]]:
    """What both critics minimise, of real images and generated ones that the pools return."""
    real = Domains(*(judge(x) for judge, x in zip(judges, images)))
    fake = Domains(*(judge(x) for judge, x in zip(judges, shown)))
    total = patch_loss(loss, real.left, fake.left) + patch_loss(loss, real.right, fake.right)
    return total, {"real_score": jnp.stack(real), "fake_score": jnp.stack(fake)}


class CycleGANState(NamedTuple):
    """Both generators with their average, both critics, optimizers' states, pools, images.

    Fields:
      generators: parameters of "forward" (A to B) and of "backward".
      critics: parameters of each domain's critic.
      images: pairs seen last [M, H, 2 W, C] in data units.
    """

    generators: AveragedState
    critics: Domains
    critic_optimizer: Any
    pools: Domains
    images: Num[Array, "M H W2 C"]

    @property
    def params(self) -> tuple[Any, Any]:
        """What is trained: the parameters of the generators and of the critics."""
        return self.generators.params, self.critics

    @property
    def ema(self) -> Any:
        """The moving average of the generators' parameters, by direction."""
        return self.generators.ema


class CycleGANOptions(NamedTuple):
    """Options of `cyclegan`.

    Fields:
      shape: of a pair, (H, 2 W, C).
      loss: a name in GAN_LOSSES, or a `GanLoss`.
      cycle_weight, identity_weight: of the two distances beside the loss. Least squares have a
        factor 1/2 here, which the authors' have not: 10 and 5 count as 20 and 10 in their code, and
        their own 10 and 5 are 5 and 2.5 here.
      pool_size: images that each pool holds, 0 for none.
      ema_decay: of the generators' moving average, which samples.
      transform: `data.Transform` between data units and the networks', or None.
    """

    shape: tuple[int, ...]
    loss: str | GanLoss = "lsgan"
    cycle_weight: Weight = 10.0
    identity_weight: Weight = 5.0
    pool_size: Natural = 50
    ema_decay: Share = 0.999
    transform: Any = None


class CycleGANParts(NamedTuple):
    """Networks, optimizers, and what the options come to."""

    generator: Any
    critic: Any
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    loss: GanLoss
    options: CycleGANOptions

    @property
    def image(self) -> tuple[int, ...]:
        """(H, W, C) of each image of a pair."""
        return check_pair(self.options.shape)

    def translator(self, params: Any) -> Callable[[Array], Array]:
        """The generator of one direction."""
        return same_shape("generator", partial(apply, self.generator, params))

    def judges(self, params: Domains) -> Domains:
        """The critic of each domain: `x -> scores [B, h, w]`."""
        judge = lambda params: lambda x: scores(x, apply(self.critic, params, x))
        return Domains(*map(judge, params))


@no_type_check
def make_parts(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    options: CycleGANOptions,
) -> CycleGANParts:
    """Everything checked and looked up. Raises ConfigError for options that cannot work."""
    check_pair(options.shape)
    check_ranges(options)
    loss = gan_loss(options.loss)
    optimizers = generator_optimizer, critic_optimizer
    return CycleGANParts(generator, critic, *optimizers, loss, options)


def init_state(parts: CycleGANParts, key: Key[Array, ""], batch: Batch) -> CycleGANState:
    """Fresh state; raises ConfigError when the batch or the networks do not fit."""
    options, image = parts.options, parts.image
    check_images(options.shape, options.transform, batch)
    keys, one = jax.random.split(key, 4), jnp.zeros((1, *image))
    makers = [init_params(parts.generator, "generator", key, one) for key in keys[:2]]
    critics = Domains(*(init_params(parts.critic, "critic", key, one) for key in keys[2:]))
    pools = Domains(empty_pool(options.pool_size, image), empty_pool(options.pool_size, image))
    state = init_state_with_ema(dict(zip(DIRECTIONS, makers)), parts.generator_optimizer)
    moments = start_moments(parts.critic_optimizer, critics, "critic_optimizer")
    return CycleGANState(state, critics, moments, pools, first_memory(batch["x"]))


def update_generators(
    parts: CycleGANParts, state: CycleGANState, images: Domains
) -> tuple[AveragedState, Metrics]:
    """One step of both generators against the critics before it."""
    options = parts.options

    def loss(params):
        forward, backward = (parts.translator(params[d]) for d in DIRECTIONS)
        weights = options.cycle_weight, options.identity_weight
        critics = parts.judges(state.critics)
        return generators_objective(
            forward, backward, critics, images, parts.loss.generator, *weights
        )

    optimizer = parts.generator_optimizer
    return optimizer_step_with_ema(loss, optimizer, options.ema_decay, state.generators)


def update_critics(
    parts: CycleGANParts,
    key: Key[Array, ""],
    state: CycleGANState,
    images: Domains,
    fakes: Domains,
) -> tuple[Domains, tuple[Any, Any, Metrics]]:
    """The pools after an exchange, and one step of both critics on what they return."""
    swap = lambda key, pool, x: exchange(key, pool, jax.lax.stop_gradient(x))
    pools, shown = zip(*map(swap, jax.random.split(key), state.pools, fakes))
    loss = lambda params: critics_objective(
        parts.judges(params), images, Domains(*shown), parts.loss.critic
    )
    optimizer, moments = parts.critic_optimizer, state.critic_optimizer
    return Domains(*pools), optimizer_step(loss, optimizer, state.critics, moments)


def step(
    parts: CycleGANParts, key: Key[Array, ""], state: CycleGANState, batch: Batch
) -> tuple[CycleGANState, Metrics]:
    """One update of the generators, then one of the critics on what these made before it."""
    encode, _ = units(parts.options.transform)
    key_data, key_pools = jax.random.split(key)
    images = Domains(*split_pair(encode(key_data, batch["x"])))
    forward, backward = (parts.translator(state.generators.params[d]) for d in DIRECTIONS)
    fakes = Domains(backward(images.right), forward(images.left))
    generators, metrics = update_generators(parts, state, images)
    pools, after = update_critics(parts, key_pools, state, images, fakes)
    critics, moments, judged = after
    memory = remember(state.images, batch["x"])
    metrics = report(metrics, "generator", generators.params) | report(judged, "critic", critics)
    return CycleGANState(generators, critics, moments, pools, memory), metrics


def draw_samples(
    parts: CycleGANParts,
    key: Key[Array, "*batch"],
    state: CycleGANState,
    n: int,
    *,
    source: Num[Array, "n H W C"] | None = None,
    direction: str = "forward",
) -> Array:
    """Pairs [n, H, 2 W, C] in data units: A left and B right, one the translation of the other.

    Args:
      source: by default drawn from training images seen lately; of A, or of B for "backward".
      direction: "forward" (A to B) or "backward".
    """
    check_choice("direction", direction, DIRECTIONS)
    encode, decode = units(parts.options.transform)
    forward, keys = direction == "forward", sample_keys(key, n)
    if source is None:
        pair = split_pair(draw_sources(fold_in(keys, 0), state.images))
        source = pair[0] if forward else pair[1]
    source = checked_sources(source, n, parts.image)
    translate = parts.translator(state.ema[direction])
    made = decode(translate(encode(fold_in(keys, 1), source)))
    return join_pair(source, made) if forward else join_pair(made, source)


def model_from_parts(parts: CycleGANParts) -> GenerativeModel:
    """The model of parts that `make_parts` has checked."""
    model = assemble(parts, init_state, step, draw_samples)
    return compiled(model, per_sample={"source": lambda x, n: checked_sources(x, n, parts.image)})


@no_type_check
def cyclegan(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """CycleGAN as a `GenerativeModel` of unpaired images side by side [H, 2 W, C].

    Args:
      generator: `[B, H, W, C] -> [B, H, W, C]`, in the transform's units; of both directions.
      critic: `[B, H, W, C] -> scores [B, h, w]`; of both domains.
      options: fields of `CycleGANOptions`; `shape` is needed.
    `sample` takes the arguments of `draw_samples`. Raises ConfigError for options that cannot work.
    """
    optimizers = generator_optimizer, critic_optimizer
    return model_from_parts(
        make_parts(generator, critic, *optimizers, options_from(CycleGANOptions, options))
    )
