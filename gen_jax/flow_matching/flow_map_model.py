"""Few-step models: a network of two times, trained by any of FEW_STEP_LOSSES.

The network learns the average velocity U(x, t, s). Its diagonal U(x, t, t) is a denoiser, so the
model is a diffusion model too (its `parts` are `diffusion.Parts`): every stepper, guide, likelihood
and inverse problem works on it, and a diffusion model's parameters are a valid start
(`training.fit(initial=...)`). Samples jump with the flow map by default. The consistency loss alone
does not train the diagonal: its model jumps, and refuses every other use.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.axes import expand
from gen_jax.checks import check_arguments, check_callable, check_output, no_type_check
from gen_jax.diffusion import Options, Parts, make_parts, model_from_parts
from gen_jax.diffusion.generate import value_or_null
from gen_jax.diffusion.guidance import extrapolate
from gen_jax.diffusion.model import data_and_noise, init_state, with_dropout
from gen_jax.diffusion.network import Preconditioned, noise_input
from gen_jax.diffusion.options import is_normal, resolve
from gen_jax.diffusion.time_sampling import off_the_steep
from gen_jax.errors import ConfigError, check_choice, shown
from gen_jax.flow_matching.few_step import FEW_STEP_LOSSES, OF_LAWS, TO_DATA
from gen_jax.flow_matching.flow_map import flow_map, jump
from gen_jax.flow_matching.targets import guided_pairs, taught_pairs
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import AveragedState, optimizer_step_with_ema
from gen_jax.parameterisations import convert
from gen_jax.paths import GaussianPath, coefficients
from gen_jax.ranges import Count, Range, Share, Weight, check_ranges, options_from
from gen_jax.types import (
    Array,
    AverageVelocity,
    Batch,
    Denoiser,
    Float,
    FlowMap,
    Int,
    Key,
    Metrics,
    State,
)

SMOOTH = ("velocity", "v", "F")
"""Predictions whose conversion to a velocity is finite at both ends."""


def nested_pairs(
    key: Key[Array, ""], t: Float[Array, "B"], share: float, step: Int[Array, ""]
) -> Float[Array, "B"]:
    """s uniform in [0, t], and s = t for a share of the examples (geng2025)."""
    key_s, key_same = jax.random.split(key)
    s = t * jax.random.uniform(key_s, t.shape)
    return jnp.where(jax.random.bernoulli(key_same, share, t.shape), t, s)


def halving_pairs(
    key: Key[Array, ""], t: Float[Array, "B"], share: float, step: Int[Array, ""]
) -> Float[Array, "B"]:
    """s = t - d at most to 0 with d = 1, 1/2, ..., 1/64, and s = t for a share (frans2025)."""
    key_d, key_same = jax.random.split(key)
    d = 0.5 ** jax.random.randint(key_d, t.shape, 0, 7).astype(t.dtype)
    s = jnp.maximum(t - d, 0)
    return jnp.where(jax.random.bernoulli(key_same, share, t.shape), t, s)


def shrinking_pairs(
    key: Key[Array, ""], t: Float[Array, "B"], share: float, step: Int[Array, ""]
) -> Float[Array, "B"]:
    """s / t = 1 - 2^-k, where k rises by one every 500 steps up to 8 (geng2024ect)."""
    del key, share
    k = jnp.minimum(1 + step // 500, 8)
    return t * (1 - 0.5 ** k.astype(t.dtype))


PAIRS: dict[str, Callable] = {
    "mean_flow": nested_pairs,
    "improved_mean_flow": nested_pairs,
    "lagrangian": nested_pairs,
    "shortcut": halving_pairs,
    "consistency": shrinking_pairs,
    "continuous_consistency": nested_pairs,
    "moment_matching": nested_pairs,
    "drifting": nested_pairs,
}
"""Times s <= t that each loss is trained on: `(key, t [B], share, step) -> s [B]`."""


class FewSteps(NamedTuple):
    """What a flow map's training has besides the options of a diffusion model.

    Fields:
      loss: a name in FEW_STEP_LOSSES, or a function like theirs.
      velocity_share: of examples with s = t, which train the velocity alone.
      adaptive: power p of the weight 1 / (error + 1e-3)^p of each example (geng2025: 1); 0 is none.
      pairs: a name in PAIRS or a function like theirs; by default the loss's own.
      gamma: of `jump` in `sample`: 0 jumps, 1 jumps to the data and adds noise again. By default 0,
        and 1 for the losses of TO_DATA, which train jumps to the data alone; 0 beside a source or
        coupling.
      guidance: weight of classifier-free guidance inside the target: one call per step then samples
        with it, and log_prob is that of the guided flow. Needs hidden conditions; not of the losses
        in OF_LAWS, and of consistency only with a teacher.
      teacher: `(x [B, ...], t [B], value) -> E[x0 | x_t]`, a trained denoiser whose flow is learnt
        in place of the pairs' own (`distilled_flow_map` keeps its parameters in the state), or
        None; `value` is that of the condition. Not of the losses in OF_LAWS.
      warmup_steps: of a loss with an option `warmup` that is not given: steps of training in which
        it rises from 0 to 1 (lu2025, algorithm 1).
      loss_options: further options of the loss.
    """

    loss: str | Callable = "improved_mean_flow"
    velocity_share: Share = 0.75
    adaptive: Weight = 0.0
    pairs: str | Callable | None = None
    gamma: Annotated[float | None, Range(0, 1)] = None
    loss_options: Mapping[str, Any] = {}
    warmup_steps: Count = 1000
    guidance: Weight = 1.0
    teacher: Callable | None = None


def both_times(noise: Callable) -> Callable[..., Float[Array, "B 2"]]:
    """`(path, t, s=t) -> [B, 2]`, what the network sees of both times, from that of one."""
    return lambda path, t, s=None: jnp.stack(
        [noise(path, t), noise(path, t if s is None else s)], axis=-1
    )


def of_jumps_alone(noise: Callable) -> Callable[..., Float[Array, "B 2"]]:
    """`both_times` of a model whose diagonal is not trained: raises ConfigError for one time."""

    def refusing(path: GaussianPath, t: Array, s: Array | None = None) -> Array:
        if s is None:
            raise ConfigError(
                "a model of the consistency loss has no velocity U(x, t, t), so no denoiser: it "
                "samples by jumps (other losses train both, such as continuous_consistency)"
            )
        return both_times(noise)(path, t, s)

    return refusing


def network_average(p: Preconditioned, params: Any, value: Any) -> AverageVelocity:
    """U(x, t, s) of a network with these parameters."""
    noise = p.noise

    def average(x: Float[Array, "B ..."], t: Float[Array, "B"], s: Float[Array, "B"]) -> Array:
        norm = jnp.sqrt((p.path.alpha(t) * p.data_std) ** 2 + p.path.sigma(t) ** 2)
        raw = check_output(
            "network", p.apply(params, x / expand(norm, x), noise(p.path, t, s), value), x.shape
        )
        c = coefficients(p.path, off_the_steep(p.path, t))
        return convert(raw, x, c, p.prediction, "velocity", p.data_std)

    return average


def average_velocity(model: GenerativeModel, state: State, **conditions: Any) -> AverageVelocity:
    """U(x [B, ...], t [B], s [B]) of the moving average, in the path's units."""
    parts, own = parts_of(model, state, Parts)
    value = lambda n: value_or_null(parts, conditions, n)
    return lambda x, t, s: network_average(parts.preconditioned, own.ema, value(x.shape[0]))(
        x, t, s
    )


def trained_map(model: GenerativeModel, state: State, **conditions: Any) -> FlowMap:
    """X(x, t, s) = x + (s - t) U(x, t, s) of the moving average, for any s <= t."""
    return flow_map(average_velocity(model, state, **conditions))


def teaching(few: FewSteps, value: Any, null: Any) -> Denoiser:
    """The teacher's denoiser for the condition's value, with guidance."""
    ask: Any = few.teacher
    denoise = lambda x, t: ask(x, t, value)
    if few.guidance == 1:
        return denoise
    return extrapolate(denoise, lambda x, t: ask(x, t, null), few.guidance)


def _loss(
    parts: Parts,
    p: Preconditioned,
    few: FewSteps,
    params: Any,
    step: Any,
    key: Key[Array, ""],
    batch: Batch,
) -> tuple[Float[Array, "B"], Metrics]:
    """The loss of a batch with its own times, noise, pairing and hidden conditions."""
    options = parts.options
    key_encode, key_time, key_noise, key_pair, key_drop = jax.random.split(key, 5)
    keys = key_encode, key_noise, jax.random.fold_in(key_pair, 1)
    x0, x1, value = data_and_noise(options, keys, batch)
    n = x0.shape[0]
    t = check_output("time_density", options.time_density(key_time, p.path, n), (n,))
    pairs: Any = few.pairs
    s = check_output("pairs", pairs(key_pair, t, few.velocity_share, step), t.shape)
    null: Any = None
    hidden: Any = False
    if options.condition is not None:
        hidden = jax.random.bernoulli(key_drop, options.condition_dropout, (n,))
        value, null = options.condition.hide(value, hidden), options.condition.null(n)
    loss: Any = few.loss
    average = network_average(p, params, value)
    more = dict(few.loss_options)
    if few.teacher is not None:
        teacher = teaching(few, value, null)
        x0, x1 = taught_pairs(teacher, p.path, x0, x1, t)
        if "teacher" in inspect.signature(loss).parameters:
            more["teacher"] = teacher
    elif few.guidance != 1:
        unguided = network_average(p, params, null)
        weight = jnp.where(hidden, 1.0, few.guidance)
        x0, x1 = guided_pairs(unguided, p.path, x0, x1, t, weight)
    if "warmup" in inspect.signature(loss).parameters:
        more.setdefault("warmup", jnp.minimum(step / few.warmup_steps, 1.0))
    each, metrics = loss(average, p.path, x0, x1, t, s, **more)
    each = check_output("loss", each, (n,))
    if few.adaptive:
        each = each / (jax.lax.stop_gradient(each) + 1e-3) ** few.adaptive
    return each, metrics


def _step(
    parts: Parts, few: FewSteps, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    key, p = with_dropout(key, parts)
    loss = lambda params: _loss(parts, p, few, params, state.step, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


ARGUMENTS = ("average", "path", "x0", "x1", "t", "s")
"""What a loss is called with."""


def _checked(few: FewSteps) -> FewSteps:
    check_ranges(few)
    name = few.loss if isinstance(few.loss, str) else "mean_flow"
    check_choice("loss", name, FEW_STEP_LOSSES)
    pairs = resolve("pairs", name if few.pairs is None else few.pairs, PAIRS)
    check_arguments("pairs", pairs, ("key", "t", "share", "step"))
    loss: Any = check_callable("loss", resolve("loss", few.loss, FEW_STEP_LOSSES))
    if few.teacher is not None:
        check_arguments("teacher", few.teacher, ("x", "t", "value"))
    if loss in [FEW_STEP_LOSSES[law] for law in OF_LAWS]:
        for option in ("guidance", "teacher"):
            if (given := getattr(few, option)) != FewSteps._field_defaults[option]:
                raise ConfigError(
                    f"{option}={shown(given)}: loss={shown(few.loss)} compares samples and has no "
                    "velocity"
                )
    if few.guidance != 1 and few.teacher is None and loss is FEW_STEP_LOSSES["consistency"]:
        raise ConfigError(
            f"guidance={few.guidance}: loss='consistency' does not train the velocity to be "
            "guided; give a teacher, or another loss such as continuous_consistency"
        )
    try:
        inspect.signature(loss).bind(*ARGUMENTS, **few.loss_options)
    except TypeError as error:
        raise ConfigError(f"loss_options={shown(few.loss_options)} of the loss: {error}") from error
    if "teacher" in few.loss_options:
        raise ConfigError("loss_options has a 'teacher': give it as teacher= of the model")
    return few._replace(loss=loss, pairs=pairs)


@no_type_check
def flow_map_model(
    network,
    path: str | GaussianPath,
    optimizer: optax.GradientTransformation,
    loss: str | Callable = "improved_mean_flow",
    **options,
) -> GenerativeModel:
    """A few-step model; `options` are the fields of `FewSteps` and of `diffusion.Options`.

    Args:
      network: takes `noise` [B, 2], what it sees of t and of s: the networks of `gen_jax.nets` do.
    `sample` jumps `num_steps` times (1) unless it is given a stepper; `average_velocity` and
    `trained_map` hand out the map. Raises ConfigError for predictions with a pole at an end, the
    noise input "log_snr", a source or coupling beside gamma > 0, and values out of range.
    """
    usual = Options._field_defaults["stepper"]
    if (stepper := options.get("stepper", usual)) != usual:
        raise ConfigError(f"stepper={shown(stepper)}: a few-step model jumps (name it in sample)")
    if refused := sorted({"weighting", "variance_steps"} & options.keys()):
        raise ConfigError(
            f"{', '.join(refused)}: not of a few-step loss (adaptive weighs examples)"
        )
    few = _checked(FewSteps(loss, **{k: options.pop(k) for k in FewSteps._fields if k in options}))
    options = {"prediction": "velocity", "noise_input": "angle", "num_steps": 1, **options}
    if options["prediction"] not in SMOOTH:
        raise ConfigError(
            f"prediction={options['prediction']!r} has no velocity at an end of the path "
            f"(choose from: {', '.join(SMOOTH)})"
        )
    parts = make_parts(network, path, optimizer, options_from(Options, options))
    if few.loss is FEW_STEP_LOSSES["drifting"] and parts.options.condition is not None:
        raise ConfigError("loss='drifting' matches the data as a whole: not beside a condition")
    learns_both = parts.options.condition is not None and parts.options.condition_dropout > 0
    if few.guidance != 1 and not learns_both:
        raise ConfigError(
            f"guidance={few.guidance} needs a condition, and condition_dropout above 0: this model "
            "learns nothing without its condition"
        )
    if parts.options.noise_input is noise_input:
        raise ConfigError(
            "noise_input='log_snr' is steep at the ends of a path, and flow maps differentiate it: "
            "'angle', or a smooth function (path, t)"
        )
    gamma = few.gamma
    if gamma is None:
        to_data = few.loss in [FEW_STEP_LOSSES[name] for name in TO_DATA]
        to_data = to_data and is_normal(parts.options)
        gamma = 1.0 if to_data else 0.0
    if gamma and not is_normal(parts.options):
        raise ConfigError(f"gamma={gamma} adds normal noise: not beside a source or coupling")
    jumps = lambda parts, params, value: jump(
        flow_map(network_average(parts.preconditioned, params, value)), gamma
    )
    noise = parts.options.noise_input
    seeing = lambda both: parts._replace(
        options=parts.options._replace(noise_input=both(noise), stepper="jump"),
        steppers={"jump": jumps},
    )
    whole = seeing(both_times)
    if few.loss is not FEW_STEP_LOSSES["consistency"]:
        return model_from_parts(whole)._replace(step=partial(_step, whole, few))
    model = model_from_parts(seeing(of_jumps_alone))
    return model._replace(
        init=partial(init_state, whole),
        step=partial(_step, whole, few),
        log_prob=None,
        log_prob_kind="none",
    )
