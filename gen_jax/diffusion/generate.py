"""What a trained diffusion or flow-matching model gives: denoisers, samples, log-likelihoods."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.calls import calls_inside
from gen_jax.checks import as_times
from gen_jax.condition_values import (
    check_complete,
    is_guidance,
    is_guided,
    null_or_needed,
    value_of,
)
from gen_jax.data_units import log_det, to_data, to_model_floats
from gen_jax.diffusion.grids import GRIDS
from gen_jax.diffusion.guidance import extrapolate
from gen_jax.diffusion.likelihood import LikelihoodInfo, ode_log_prob, ode_log_prob_with_error
from gen_jax.diffusion.network import network_denoiser, predict_both
from gen_jax.diffusion.options import Parts, draw_source, is_normal, resolve, resolve_path
from gen_jax.diffusion.sampler import Stepper, check_stepper, prior, sample, sample_with_info
from gen_jax.diffusion.steppers import STEPPERS
from gen_jax.errors import ConfigError, check_choice
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import AveragedState
from gen_jax.parameterisations import convert
from gen_jax.paths import GaussianPath, coefficients, transfer
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.solvers import adaptive
from gen_jax.types import Array, Denoiser, Float, Int, Key, State


def value_or_null(parts: Parts, given: Mapping[str, Any], n: int) -> Any:
    """The condition's value [n, ...], `null` where none is given, None for a model without.

    Raises ConfigError where none is given and training hid none.
    """
    condition = parts.options.condition
    value = value_of(condition, given, n)
    return null_or_needed(condition, parts.options.condition_dropout, value, n)


def plain_denoiser(parts: Parts, params: Any, value: Any, n: int) -> Denoiser:
    """The network's denoiser for a condition's value; `null` stands for None, as in training.

    Raises ConfigError for None where training hid none, and the network sees the condition.
    """
    dropout = parts.options.condition_dropout if parts.conditioned else 1.0
    value = null_or_needed(parts.options.condition, dropout, value, n)
    return network_denoiser(parts.preconditioned, params, value)


def denoiser(model: GenerativeModel, state: State, **conditions: Any) -> Denoiser:
    """`denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]` of the moving average, in the path's units.

    Args:
      conditions: such as label=3, for all examples, or [B]. Without it the condition is hidden.
    Raises ConfigError for a model of another family, and for a condition that does not fit.

    >>> import jax, jax.numpy as jnp, optax
    >>> from gen_jax import diffusion, nets
    >>> network = nets.from_functions(
    ...     lambda key, x, noise, condition: {"scale": jnp.zeros(2)},
    ...     lambda params, x, noise, condition: params["scale"] * x,
    ... )
    >>> model = diffusion.diffusion(network, "linear", optax.sgd(0.1), shape=(2,), prediction="x0")
    >>> state = model.init(jax.random.key(0), {"x": jnp.ones((16, 2))})
    >>> denoise = diffusion.denoiser(model, state)
    >>> denoise(jnp.ones((3, 2)), jnp.full(3, 0.5)).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    parts, own = parts_of(model, state, Parts)

    def denoise(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B ..."]:
        n = x.shape[0]
        value = value_of(parts.options.condition, conditions, n)
        return _guided(parts, own.ema, value, n, parts.path)(x, t)

    return calls_inside(denoise)


def denoiser_and_fraction(
    model: GenerativeModel, state: State, **conditions: Any
) -> Callable[[Array, Array], tuple[Array, Array]]:
    """`(x_t [B, ...], t [B]) -> (E[x0 | x_t], fraction)` of a model with learned variances.

    The fraction is that of `reverse_log_variance`, clipped to [0, 1]: it is not trained below the
    time 1 / variance_steps. Both are of the moving average. Raises
    ConfigError for a model of another loss than "hybrid".
    """
    parts, own = parts_of(model, state, Parts)
    if not parts.learned_variance:
        raise ConfigError("model has fixed reverse variances: train it with loss='hybrid'")
    p = parts.preconditioned

    def both(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> tuple[Array, Array]:
        condition = value_or_null(parts, conditions, x.shape[0])
        value, fraction = predict_both(p, own.ema, x, t, condition)
        x0 = convert(value, x, coefficients(p.path, t), p.prediction, "x0", p.data_std)
        return x0, jnp.clip(fraction, 0, 1)

    return both


def _guided(parts: Parts, params: Any, value: Any, n: int, path: GaussianPath, **guidance) -> Any:
    """The denoiser on `path`, with the guidance of a call and the guide that is built in."""
    if value is not None:  # a part of it may be missing
        dropout = parts.options.condition_dropout if parts.conditioned else 1.0
        value = null_or_needed(parts.options.condition, dropout, value, n)
    shown = value if parts.conditioned else None
    denoise = guided_denoiser(parts, params, shown, n, **guidance)
    if path is not parts.path:
        denoise = transfer(denoise, parts.path, path)
    return denoise if parts.guide is None else parts.guide(denoise, value, path)


def guided_denoiser(
    parts: Parts,
    params: Any,
    value: Any,
    n: int,
    *,
    guidance: float | Array = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """The network's denoiser with classifier-free guidance, or autoguidance by `parts.weaker`.

    Raises ConfigError for guidance that has nothing to guide it.
    """
    options, denoise = parts.options, plain_denoiser(parts, params, value, n)
    needs = options.condition, options.condition_dropout, value, ", or a weaker model"
    if parts.weaker is not None:
        if not is_guidance(guidance):
            return denoise
        guide = plain_denoiser(parts, parts.weaker, value, n)
    elif is_guided(guidance, *needs):
        guide = plain_denoiser(parts, params, None, n)
    else:
        return denoise
    return extrapolate(denoise, guide, guidance, guidance_interval)


def _times(
    parts: Parts,
    path: GaussianPath,
    num_steps: int,
    grid: str | Callable,
    sigma_min: float | None,
    sigma_max: float | None,
) -> Float[Array, " times"]:
    """Times of a grid by name, or of the user's own `(path, num_steps)`, which may take a range."""
    given = {"sigma_min": sigma_min, "sigma_max": sigma_max}
    options: dict[str, Any] = {name: level for name, level in given.items() if level is not None}
    if isinstance(grid, str):
        options["data_std"] = parts.options.data_std
    with jax.ensure_compile_time_eval():  # a trace would hide the values of a grid
        return as_times(resolve("grid", grid, GRIDS)(path, num_steps, **options))


class Start(NamedTuple):
    """What a sampler needs: per-sample keys, a denoiser on a path, x at the first time, a grid."""

    keys: Key[Array, "n"]
    denoise: Denoiser
    path: GaussianPath
    x: Float[Array, "n ..."]
    times: Float[Array, " times"]
    stepper: Stepper


def _start(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    guidance: float | Array = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    stepper: str | Stepper | None = None,
    num_steps: int | None = None,
    grid: str | Callable | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    path: str | GaussianPath | None = None,
    guide: Callable[..., Denoiser] | None = None,
    given: Any = None,
    **conditions: Any,
) -> Start:
    """The arguments of `draw_samples` checked and put together."""
    options = parts.options
    stepper = _stepper(parts, state, n, stepper, guidance, path, conditions)
    if not stepper.calls_denoiser and (guide is not None or parts.guide is not None):
        raise ConfigError(
            "guide acts on the denoiser, which this stepper does not call (name another, such as "
            "stepper='adams')"
        )
    normal, value = is_normal(options), value_of(options.condition, conditions, n)
    if stepper.stochastic and not normal:
        others = [name for name, make in STEPPERS.items() if not make().stochastic]
        raise ConfigError(
            "stepper needs the score, which this source, start or coupling does not give "
            f"(choose from: {', '.join(others)})"
        )
    if sigma_max is not None and not normal:
        raise ConfigError(
            f"sigma_max={sigma_max}: with its own source or coupling a model starts at t = 1 alone"
        )
    if options.start is not None:
        check_complete(options.condition, value, "samples start from it")
    target = parts.path if path is None else resolve_path(path)
    how = {"guidance": guidance, "guidance_interval": guidance_interval}
    denoise = _guided(parts, state.ema, value, n, target, **how)
    if given is not None and guide is None:
        raise ConfigError("given needs guide, the function that takes it")
    if guide is not None:
        denoise = guide(denoise) if given is None else guide(denoise, given)
    num_steps = options.num_steps if num_steps is None else num_steps
    name = stepper.grid if grid is None else grid
    times = _times(parts, target, num_steps, name, sigma_min, sigma_max)
    keys = sample_keys(key, n)
    if options.source is None and options.start is None:
        shape = (n, *options.shape)
        x = prior(fold_in(keys, 0), target, shape, t=times[0], data_std=options.data_std)
    else:
        x = target.sigma(jnp.ones(())) * draw_source(options, fold_in(keys, 0), value)
    return Start(fold_in(keys, 1), denoise, target, x, times, stepper)


def _stepper(
    parts: Parts, state: AveragedState, n: int, stepper: Any, guidance: Any, path: Any, given: Any
) -> Stepper:
    """The stepper of a call: one of STEPPERS, or one of the model's own."""
    name = parts.options.stepper if stepper is None else stepper
    guided = not (isinstance(guidance, int | float) and guidance == 1)
    if not (isinstance(name, str) and name in parts.steppers):
        make = resolve("stepper", name, {**STEPPERS, **parts.steppers})
        made = make if isinstance(make, Stepper) else check_stepper(make())
        if guided and not made.calls_denoiser:
            raise ConfigError("guidance acts on the denoiser, which this stepper does not call")
        return made
    if path is not None or (guided and name == "jump"):
        refused = "neither guidance nor another path" if name == "jump" else "no other path"
        raise ConfigError(f"stepper={name!r} takes {refused} (name another, such as 'adams')")
    return parts.steppers[name](parts, state.ema, value_or_null(parts, given, n))


def draw_samples(
    parts: Parts, key: Key[Array, "*batch"], state: AveragedState, n: int, **options: Any
) -> Array:
    """Samples [n, ...] in data units.

    Args:
      guidance, guidance_interval: weight of classifier-free guidance, one for all or one for each
        sample, and the times in which it acts; see `extrapolate`.
      stepper, num_steps, grid: by default the options', and the grid that the stepper is meant for.
        On another grid "edm_heun", "dpm_solver_pp" and "unipc" end on a coarse last interval: 40
        calls on the uniform grid of vp leave 27 to 51 % of the variance inside narrow modes.
      sigma_min, sigma_max: noise levels sigma / alpha of the last step and of the start, instead of
        the grid's, which are the path's own (see `grids`).
      path: a path to sample on, when it is not the one of training.
      guide: any further function from denoiser to denoiser, on the sampling path, or with `given` a
        function `(denoise, given) -> denoise`. Arrays that it closes over serve every batch.
      given: arrays [n, ...], the guide's own condition of each sample, cut with the batches.
    """
    start = _start(parts, key, state, n, **options)
    return to_data(parts.options, sample(*start, data_std=parts.options.data_std))


_signature = inspect.signature(_start).replace(return_annotation=Array)
draw_samples.__signature__ = _signature  # type: ignore[attr-defined]


class Trajectory(NamedTuple):
    """Samples, and the states on the way to them.

    Fields:
      x: [n, ...] in data units.
      states: [num_steps + 1, n, ...] from the start on, in the units that were asked for.
      times: [num_steps + 1] of the states.
      calls: batched network calls, see `SampleInfo`.
    """

    x: Array
    states: Array
    times: Float[Array, " times"]
    calls: Int[Array, ""]


UNITS = ("data", "model")


def trajectory(
    key: Key[Array, "*batch"],
    model: GenerativeModel,
    state: State,
    n: int,
    *,
    units: str = "data",
    **conditions: Any,
) -> Trajectory:
    """The samples that `model.sample` draws, with the states on the way.

    Args:
      units: "data", or "model" for the path's own, in which states are x_t.
      conditions: as of `model.sample`.
    """
    check_choice("units", units, UNITS)
    parts, own = parts_of(model, state, Parts)
    start = _start(parts, key, own, n, **conditions)
    std = parts.options.data_std
    x, info = sample_with_info(*start, data_std=std, trajectory=True)
    assert info.trajectory is not None
    states = jnp.concatenate([start.x[None], info.trajectory])
    if units == "data":
        states = jax.vmap(lambda u: to_data(parts.options, u))(states)
    return Trajectory(to_data(parts.options, x), states, start.times, info.calls)


def _likelihood_inputs(
    parts: Parts, key: Any, state: AveragedState, x: Any, conditions: Any, solver: Any
) -> tuple[tuple, dict[str, Any], Array]:
    """The arguments of `ode_log_prob`, and log |du/dx|."""
    n, options = x.shape[0], parts.options
    keys = sample_keys(key, n)
    u = to_model_floats(options, fold_in(keys, 0), jnp.asarray(x))
    settings = {"data_std": options.data_std, **options.likelihood}
    if solver.get("method") in adaptive.METHODS:
        settings.pop("num_steps", None)
    if solver.get("divergence") == "exact":
        settings.pop("num_probes", None)
    settings |= {name: value for name, value in solver.items() if value is not None}
    denoise = plain_denoiser(parts, state.ema, value_of(parts.options.condition, conditions, n), n)
    return (fold_in(keys, 1), denoise, parts.path, u), settings, log_det(options, u)


def log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Array | np.ndarray,
    *,
    method: str | None = None,
    num_steps: int | Int[Array, ""] | None = None,
    divergence: str | None = None,
    num_probes: int | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
    times: Float[Array, " times"] | None = None,
    **conditions: Any,
) -> Float[Array, "B"]:
    """log p(x | condition) [B] in nats and data units by the probability-flow ODE.

    For dequantised images the mean over the dequantisation noise is a lower bound on the log
    probability mass. An adaptive `method` takes no notice of the options' number of steps; use it
    for points far from the data, where fixed steps may be off by hundreds of nats.
    `log_prob_with_error` also estimates the error.

    Args:
      method, num_steps, divergence, num_probes, tolerance, max_steps, times: of `ode_log_prob`;
        where they are not given the model's options `likelihood` hold.
    """
    solver = {
        "method": method,
        "num_steps": num_steps,
        "divergence": divergence,
        "num_probes": num_probes,
        "tolerance": tolerance,
        "max_steps": max_steps,
        "times": times,
    }
    inputs, settings, scale = _likelihood_inputs(parts, key, state, x, conditions, solver)
    return ode_log_prob(*inputs, **settings) + scale


def log_prob_with_error(
    key: Key[Array, "*batch"],
    model: GenerativeModel,
    state: State,
    x: Array | np.ndarray,
    *,
    method: str | None = None,
    num_steps: int | Int[Array, ""] | None = None,
    **conditions: Any,
) -> tuple[Float[Array, "B"], LikelihoodInfo]:
    """`model.log_prob`, and its error by a second, coarser solve."""
    parts, own = parts_of(model, state, Parts)
    solver = {"method": method, "num_steps": num_steps}
    inputs, settings, scale = _likelihood_inputs(parts, key, own, x, conditions, solver)
    found, info = ode_log_prob_with_error(*inputs, **settings)
    return found + scale, info
