"""What a trained diffusion or flow-matching model gives: guided samples and log-likelihoods."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import checked_labels
from gen_jax.data_units import log_det, to_data, to_model_floats
from gen_jax.diffusion.grids import GRIDS
from gen_jax.diffusion.guidance import extrapolate
from gen_jax.diffusion.likelihood import ode_log_prob
from gen_jax.diffusion.network import Preconditioned, denoiser
from gen_jax.diffusion.options import (
    Options,
    draw_source,
    resolve,
    resolve_path,
)
from gen_jax.diffusion.sampler import Stepper, check_times, prior, sample
from gen_jax.diffusion.steppers import STEPPERS
from gen_jax.errors import ConfigError, check_finite
from gen_jax.optimization import AveragedState
from gen_jax.paths import GaussianPath, transfer
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.solvers import adaptive
from gen_jax.types import Array, Denoiser, Float, Key


def guided_denoiser(
    p: Preconditioned,
    options: Options,
    state: AveragedState,
    n: int,
    *,
    label: Any = None,
    guidance: float | Array = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    guide_state: AveragedState | None = None,
) -> Denoiser:
    """The moving average's denoiser with classifier-free guidance, or autoguidance by guide_state.

    Raises ConfigError for labels out of range and for guidance that has nothing to guide it.
    """
    labels = checked_labels(label, n, options.num_classes)
    if check_finite("guidance", guidance) is None:
        raise ConfigError("guidance=None must be a number, or one for each sample")
    # "No label" is the label num_classes, as in training.
    none = jnp.full(n, options.num_classes, jnp.int32) if options.num_classes else None
    denoise = denoiser(p, state.ema, none if labels is None else labels)
    if guide_state is not None:
        guide = denoiser(p, guide_state.ema, none if labels is None else labels)
    elif isinstance(guidance, int | float) and guidance == 1:
        return denoise
    elif labels is None:
        raise ConfigError(f"guidance={guidance} needs label, or guide_state for autoguidance")
    else:
        guide = denoiser(p, state.ema, none)
    return extrapolate(denoise, guide, guidance, guidance_interval)


def _times(
    path: GaussianPath,
    num_steps: int,
    grid: str | Callable,
    p: Preconditioned,
    sigma_min: float | None,
    sigma_max: float | None,
) -> Float[Array, " times"]:
    """Times of a grid by name, or of the user's own `(path, num_steps)`, which may take a range."""
    given = {"sigma_min": sigma_min, "sigma_max": sigma_max}
    options: dict[str, Any] = {name: level for name, level in given.items() if level is not None}
    if isinstance(grid, str):
        options["data_std"] = p.data_std
    return resolve("grid", grid, GRIDS)(path, num_steps, **options)


def draw_samples(
    p: Preconditioned,
    options: Options,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    label: Any = None,
    guidance: float | Array = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    guide_state: AveragedState | None = None,
    stepper: str | Stepper | None = None,
    num_steps: int | None = None,
    grid: str | Callable | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    path: str | GaussianPath | None = None,
    guide: Callable[[Denoiser], Denoiser] | None = None,
    info: bool = False,
    trajectory: bool = False,
) -> Any:
    """Samples [n, ...] in data units, and a `SampleInfo` on request.

    Args:
      label, guidance, guidance_interval, guide_state: of `guided_denoiser`.
      stepper, num_steps, grid: by default the options', and the grid that the stepper is meant for.
      sigma_min, sigma_max: noise levels sigma / alpha of the last step and of the start, instead of
        the grid's, which are the path's own (see `grids`).
      path: a path to sample on, when it is not the one of training.
      guide: any further function from denoiser to denoiser, on the sampling path; arrays that it
        closes over are the same for every batch.
    """
    make = resolve("stepper", options.stepper if stepper is None else stepper, STEPPERS)
    stepper = make if isinstance(make, Stepper) else make()
    num_steps = options.num_steps if num_steps is None else num_steps
    if stepper.stochastic and (options.source or options.coupling):
        others = [name for name, make in STEPPERS.items() if not make().stochastic]
        raise ConfigError(
            "stepper needs the score, which this source or coupling does not give "
            f"(choose from: {', '.join(others)})"
        )
    if sigma_max is not None and (options.source or options.coupling):
        raise ConfigError(
            f"sigma_max={sigma_max}: with its own source or coupling a model starts at t = 1 alone"
        )
    denoise = guided_denoiser(
        p,
        options,
        state,
        n,
        label=label,
        guidance=guidance,
        guidance_interval=guidance_interval,
        guide_state=guide_state,
    )
    target = p.path if path is None else resolve_path(path)
    if target is not p.path:
        denoise = transfer(denoise, p.path, target)
    with jax.ensure_compile_time_eval():  # a trace would hide the values of a grid
        name = stepper.grid if grid is None else grid
        times = _times(target, num_steps, name, p, sigma_min, sigma_max)
        check_times(times)
    keys = sample_keys(key, n)
    if options.source is None:
        shape = (n, *options.shape)
        start = prior(fold_in(keys, 0), target, shape, t=times[0], data_std=p.data_std)
    else:
        start = target.sigma(jnp.ones(())) * draw_source(options, fold_in(keys, 0))
    drawn: Any = sample(
        fold_in(keys, 1),
        guide(denoise) if guide else denoise,
        target,
        start,
        times,
        stepper,
        data_std=p.data_std,
        info=info,
        trajectory=trajectory,
    )
    if info or trajectory:
        return to_data(options, drawn[0]), drawn[1]
    return to_data(options, drawn)


def log_prob(
    p: Preconditioned,
    options: Options,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Array | np.ndarray,
    *,
    label: Any = None,
    method: str | None = None,
    info: bool = False,
    **solver,
) -> Any:
    """log p(x | label) [B] in nats and data units by the probability-flow ODE; see `ode_log_prob`.

    For dequantised images the mean over the dequantisation noise is a lower bound on the log
    probability mass. An adaptive `method` takes no notice of the options' number of steps; use it
    for points far from the data, where fixed steps may be off by hundreds of nats. With `info` also
    a `LikelihoodInfo`, which tells the error.
    """
    labels = checked_labels(label, x.shape[0], options.num_classes)
    keys = sample_keys(key, x.shape[0])
    u = to_model_floats(options, fold_in(keys, 0), jnp.asarray(x))
    settings = {"data_std": p.data_std, **options.likelihood}
    if method in adaptive.METHODS:
        settings.pop("num_steps", None)
    if method is not None:
        settings["method"] = method
    denoise, scale = denoiser(p, state.ema, labels), log_det(options, u)
    found: Any = ode_log_prob(
        fold_in(keys, 1), denoise, p.path, u, info=info, **(settings | solver)
    )
    return (found[0] + scale, found[1]) if info else found + scale
