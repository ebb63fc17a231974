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
from flax import linen as nn

from gen_jax.checks import no_type_check, same_shape
from gen_jax.errors import check_choice, check_range
from gen_jax.gan.image_pool import empty_pool, exchange
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


@no_type_check
def cyclegan(
    generator: nn.Module,
    critic: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    loss: str | GanLoss = "lsgan",
    cycle_weight: float = 10.0,
    identity_weight: float = 5.0,
    pool_size: int = 50,
    ema_decay: float = 0.999,
    transform: Any = None,
) -> GenerativeModel:
    """CycleGAN as a `GenerativeModel` of unpaired images side by side [H, 2 W, C].

    Args:
      generator: `[B, H, W, C] -> [B, H, W, C]`, in the transform's units; of both directions.
      critic: `[B, H, W, C] -> scores [B, h, w]`; of both domains.
      shape: (H, 2 W, C).
      loss: a name in GAN_LOSSES, or a `GanLoss`.
      cycle_weight, identity_weight: of the two distances beside the loss. Least squares have a
        factor 1/2 here, which the authors' have not: 10 and 5 count as 20 and 10 in their code, and
        their own 10 and 5 are 5 and 2.5 here.
      pool_size: images that each pool holds, 0 for none.
    `sample(key, state, n, source=None, direction="forward")` returns the sources, [n, H, W, C] in
    data units or drawn from training images seen lately, beside their translations; A is left, also
    when `direction` is "backward". Each step updates the generators, then the critics on what the
    generators made before it. Raises ConfigError for options that cannot work.
    """
    image = check_pair(shape)
    critic_loss, generator_loss = gan_loss(loss)
    check_weights(cycle_weight=cycle_weight, identity_weight=identity_weight)
    check_range("ema_decay", ema_decay, 0, 1)
    check_range("pool_size", pool_size, 0, integer=True)
    encode, decode = units(transform)
    translator = lambda params: same_shape("generator", partial(apply, generator, params))
    judge = lambda params: lambda x: scores(x, apply(critic, params, x))
    judges = lambda params: Domains(*map(judge, params))

    def init(key, batch):
        check_images(shape, transform, batch)
        keys = jax.random.split(key, 4)
        one = jnp.zeros((1, *image))
        makers = [init_params(generator, "generator", key, one) for key in keys[:2]]
        critics = Domains(*(init_params(critic, "critic", key, one) for key in keys[2:]))
        pools = Domains(empty_pool(pool_size, image), empty_pool(pool_size, image))
        state = init_state_with_ema(dict(zip(DIRECTIONS, makers)), generator_optimizer)
        moments = start_moments(critic_optimizer, critics, "critic_optimizer")
        return CycleGANState(state, critics, moments, pools, first_memory(batch["x"]))

    def update_generators(state, images):
        def loss(params):
            forward, backward = (translator(params[d]) for d in DIRECTIONS)
            weights = cycle_weight, identity_weight
            critics = judges(state.critics)
            return generators_objective(
                forward, backward, critics, images, generator_loss, *weights
            )

        return optimizer_step_with_ema(loss, generator_optimizer, ema_decay, state.generators)

    def update_critics(key, state, images, fakes):
        swap = lambda key, pool, x: exchange(key, pool, jax.lax.stop_gradient(x))
        pools, shown = zip(*map(swap, jax.random.split(key), state.pools, fakes))
        loss = lambda params: critics_objective(
            judges(params), images, Domains(*shown), critic_loss
        )
        return Domains(*pools), optimizer_step(
            loss, critic_optimizer, state.critics, state.critic_optimizer
        )

    def step(key, state, batch):
        key_data, key_pools = jax.random.split(key)
        images = Domains(*split_pair(encode(key_data, batch["x"])))
        forward, backward = (translator(state.generators.params[d]) for d in DIRECTIONS)
        fakes = Domains(backward(images.right), forward(images.left))
        generators, metrics = update_generators(state, images)
        pools, (critics, moments, judged) = update_critics(key_pools, state, images, fakes)
        memory = remember(state.images, batch["x"])
        metrics = report(metrics, "generator", generators.params) | report(
            judged, "critic", critics
        )
        return CycleGANState(generators, critics, moments, pools, memory), metrics

    def sample(key, state, n, source=None, direction="forward"):
        check_choice("direction", direction, DIRECTIONS)
        forward, keys = direction == "forward", sample_keys(key, n)
        if source is None:
            pair = split_pair(draw_sources(fold_in(keys, 0), state.images))
            source = pair[0] if forward else pair[1]
        source = checked_sources(source, n, image)
        translate = translator(state.generators.ema[direction])
        made = decode(translate(encode(fold_in(keys, 1), source)))
        return join_pair(source, made) if forward else join_pair(made, source)

    trained = lambda state: (state.generators.params, state.critics)
    model = GenerativeModel(init, step, sample, parameters=trained)
    return compiled(model, per_sample={"source": lambda x, n: checked_sources(x, n, image)})
