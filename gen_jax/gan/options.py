"""What a GAN is made of: its networks, options with their checks, and its state."""

import warnings
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import optax

from gen_jax.checks import no_type_check
from gen_jax.conditions import Condition, checked_condition, configured, num_classes
from gen_jax.errors import ConfigError, check_choice, check_shape
from gen_jax.gan.augmentation import augmentation
from gen_jax.gan.losses import GanLoss, gan_loss
from gen_jax.gan.penalties import PENALTIES, USUAL_WEIGHTS, Penalty, find_penalty
from gen_jax.gan_nets.lipschitz import LipschitzCritic
from gen_jax.ranges import Count, MaybePositive, Natural, Range, Share, Weight, check_ranges
from gen_jax.types import Array, Float, Int

CONDITIONALS = {
    "none": "no condition",
    "concat": "generator and critic see the condition (mirza2014)",
    "projection": "they see it, the critic by an inner product (miyato2018cgans)",
    "ac": "the generator sees the label, the critic names it (odena2017)",
    "info": "a code of the generator that the critic recovers (chen2016)",
}
"""Ways to condition: how the value enters a network is the network's."""


class Options(NamedTuple):
    """Options of a GAN; zeros and None switch a remedy off.

    Fields:
      shape: of one example after the transform.
      latent: dimension of z, without the code.
      loss: a name in GAN_LOSSES, "began", or a `GanLoss`.
      penalty: a name in PENALTIES or a function like them; `penalty_weight` by default as in the
        papers; `lazy_interval` so many steps, and then so many times as strong (karras2020).
      n_critic: critic updates per step, each on its share of the batch.
      condition: None, or what batches hold besides "x", such as `conditions.labels(10)` or
        `conditions.captions(...)`; `conditional` says how, see CONDITIONALS.
      class_weight: of the classifier's loss in "ac", for the critic the sum of that of real and of
        generated examples.
      matching: share, in the critic's loss, of real examples under another's condition instead of
        generated ones (GAN-CLS; 0.5 in reed2016, algorithm 1), see `matching`.
      interpolation: weight of the generator's loss under means of two examples' conditions, for
        which there are no data (GAN-INT, reed2016 eq. 5).
      code: (categories, numbers) of "info"; `code_weight` of their recovery.
      transform: `data.Transform` between data units and the networks', or None.
      ema_decay: of the generator's moving average, which samples.
      clip: every parameter of the critic is kept in [-clip, clip].
      consensus, orthogonal, feature_matching: weights; see the modules of these names, `remedies`.
        Of "orthogonal" a class embedding that all layers share is left out (brock2019). With
        feature matching the generator minimises it besides its loss.
      adversarial: weight of the generator's own loss; 0 leaves feature matching alone.
      instance_noise: standard deviation on what the critic sees, falling to 0 over
        `instance_noise_steps` (0: constant).
      unroll: critic steps that the generator looks ahead.
      augment: names in AUGMENTATIONS, or `(key, x) -> x`.
      accumulate: parts into which each update's share of the batch is cut, one after the other.
      freeze_above: the critic is not updated while it ranks more than this share of pairs right.
      diversity, balance_rate: of "began".
    """

    shape: tuple[int, ...]
    latent: Count
    loss: str | GanLoss = "non_saturating"
    penalty: str | Penalty | None = None
    penalty_weight: MaybePositive = None
    lazy_interval: Count = 1
    n_critic: Count = 1
    condition: Condition | None = None
    conditional: str = "none"
    class_weight: Weight = 1.0
    matching: Share = 0.0
    interpolation: Weight = 0.0
    code: Annotated[tuple[int, int], Range(0)] = (0, 0)
    code_weight: Weight = 1.0
    transform: Any = None
    ema_decay: Share = 0.999
    clip: Weight = 0.0
    consensus: Weight = 0.0
    orthogonal: Weight = 0.0
    feature_matching: Weight = 0.0
    adversarial: Weight = 1.0
    instance_noise: Weight = 0.0
    instance_noise_steps: Natural = 0
    unroll: Natural = 0
    augment: tuple[str, ...] | Callable | None = None
    accumulate: Count = 1
    freeze_above: Annotated[float, Range(0.5, 1)] = 1.0
    diversity: Annotated[float, Range(0, 1, open_low=True)] = 0.5
    balance_rate: Weight = 1e-3


class GanState(NamedTuple):
    """Everything a run carries.

    Fields:
      generator, critic: parameters.
      generator_stats, critic_stats: their other collections ({} if none).
      ema: moving average of the generator's {"params": ...} and collections.
      generator_optimizer, critic_optimizer: of each network.
      balance: k of "began"; 0 otherwise.
      step: count.
    """

    generator: Any
    critic: Any
    generator_stats: Any
    critic_stats: Any
    ema: Any
    generator_optimizer: Any
    critic_optimizer: Any
    balance: Float[Array, ""]
    step: Int[Array, ""]

    @property
    def params(self) -> tuple[Any, Any]:
        """What is trained: the parameters of both networks."""
        return self.generator, self.critic


class Parts(NamedTuple):
    """Networks, optimizers and what the options come to."""

    generator: Any
    critic: Any
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    loss: GanLoss | None
    """None for "began", whose losses need k."""
    penalty: Penalty | None
    penalty_weight: float
    augment: Callable | None
    options: Options

    @property
    def critic_sees(self) -> bool:
        """Whether the critic sees the condition."""
        return self.options.conditional in ("concat", "projection")


def _check_condition(options: Options) -> None:
    kind = check_choice("conditional", options.conditional, CONDITIONALS)
    condition = checked_condition(options.condition)
    if (kind in ("concat", "projection", "ac")) != (condition is not None):
        given = None if condition is None else " and ".join(condition.checks)
        fits = ("none", "info") if condition is None else ("concat", "projection", "ac")
        raise ConfigError(
            f"conditional={kind!r} does not go with condition={given!r} "
            f"(choose conditional from: {', '.join(fits)})"
        )
    if kind == "ac":
        num_classes(condition)  # refuses all but labels
    for name in ("matching", "interpolation"):
        if getattr(options, name) and kind not in ("concat", "projection"):
            raise ConfigError(
                f"{name}={getattr(options, name)} needs a critic that sees the condition: "
                f"conditional='concat' or 'projection', not {kind!r}"
            )
    if (kind == "info") != bool(sum(options.code)):
        raise ConfigError(f"conditional={kind!r} does not go with code={options.code}")


def _check_together(options: Options) -> None:
    """Raise ConfigError for remedies that contradict each other."""
    began = options.loss == "began"
    if options.penalty_weight is not None and options.penalty is None:
        raise ConfigError(f"penalty_weight={options.penalty_weight} was given without a penalty")
    if options.lazy_interval > 1 and options.penalty is None:
        raise ConfigError(f"lazy_interval={options.lazy_interval} was given without a penalty")
    if began and options.penalty is not None:
        raise ConfigError(
            f"loss='began' takes no penalty (penalty={options.penalty!r}): its scores are "
            "reconstruction errors, not potentials"
        )
    if began and options.freeze_above < 1:
        raise ConfigError("loss='began' takes no freeze_above: its balance k does that")
    if options.clip and options.penalty in ("wgan_gp", "dragan"):
        raise ConfigError(
            f"clip={options.clip} with penalty={options.penalty!r}: the one keeps slopes small, "
            "the other a slope of 1; choose one"
        )
    if options.unroll and options.consensus:
        raise ConfigError("unroll and consensus cannot be combined; choose one")
    if options.consensus and options.accumulate > 1:
        raise ConfigError("consensus needs the whole batch at once: it does not go with accumulate")
    if not (options.adversarial or options.feature_matching):
        raise ConfigError("adversarial=0 without feature_matching leaves the generator no loss")
    if options.augment is not None and not callable(options.augment) and len(options.shape) != 3:
        raise ConfigError(f"augment={options.augment} is for images, not shape={options.shape}")


def _warn_unbounded(critic: Any, options: Options) -> None:
    bounded = isinstance(critic, LipschitzCritic) or getattr(critic, "spectral", False)
    if options.loss == "wgan" and options.penalty is None and not options.clip and not bounded:
        warnings.warn(
            "loss='wgan' without penalty, clip, spectral norms or a Lipschitz critic: its scores "
            "are not bounded by anything and training diverges",
            stacklevel=4,
        )


@no_type_check
def make_parts(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    options: Options,
) -> Parts:
    """Everything checked and looked up. Raises ConfigError for options that cannot work."""
    check_shape("shape", options.shape)
    check_ranges(options)
    _check_condition(options)
    _check_together(options)
    generator = configured("generator", generator, options.condition)
    critic = configured("critic", critic, options.condition)
    loss = None if options.loss == "began" else gan_loss(options.loss)
    penalty = None if options.penalty is None else find_penalty(options.penalty)
    weight = options.penalty_weight
    if weight is None:
        name = options.penalty
        weight = USUAL_WEIGHTS[name] if isinstance(name, str) and name in PENALTIES else 1.0
    _warn_unbounded(critic, options)
    augment = options.augment
    if augment is not None and not callable(augment):
        augment = augmentation(augment) if augment else None
    optimizers = generator_optimizer, critic_optimizer
    return Parts(generator, critic, *optimizers, loss, penalty, weight, augment, options)
