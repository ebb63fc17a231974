"""Variational diffusion models (kingma2021): the bound itself is trained, and so is the schedule.

On a variance-preserving path with log-SNR -gamma(t), in continuous time,

    -log p(x0) <= L_1 + 1/2 E_t[gamma'(t) |eps - E(x_t)|^2] + L_0,

which depends on gamma through its ends gamma(0), gamma(1) alone (eq. 18). So the ends may be
trained on the bound, and the shape between them on the variance of its estimate (app. I.2).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.annotations import shaped
from gen_jax.axes import expand
from gen_jax.checks import as_floats, no_type_check, same_shape
from gen_jax.condition_values import value_of
from gen_jax.conditions import drop
from gen_jax.data_units import log_det, to_model_floats
from gen_jax.diffusion.ddpm import check_bin_width, prior_term, reconstruction_term
from gen_jax.diffusion.generate import plain_denoiser
from gen_jax.diffusion.model import model_from_parts, with_dropout
from gen_jax.diffusion.network import Preconditioned, network_denoiser
from gen_jax.diffusion.options import Options, Parts, make_parts
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.nets.monotone import MonotoneSchedule
from gen_jax.optimization import AveragedState, optimizer_step_with_ema
from gen_jax.paths import GaussianPath, coefficients, from_gamma, log_snr
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Batch, Denoiser, Float, Key, Metrics, State

NOT_READ = {"loss", "weighting", "variance_steps", "source", "start", "coupling", "data_std"}
NOT_READ |= {"likelihood"}
"""Options of other losses, starts and likelihoods than those of a variational model."""

ENDS = ("low", "gap")
"""Parameters of a schedule that the bound depends on."""


def _noised(path: GaussianPath, x0: Array, eps: Array, t: Array) -> Array:
    return expand(path.alpha(t), x0) * x0 + expand(path.sigma(t), x0) * eps


@shaped("t")
def continuous_term(
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B *D"],
    eps: Float[Array, "B *D"],
    t: Float[Array, "B"],
) -> Float[Array, "B"]:
    """-d SNR / dt |x0 - D(x_t)|^2 / 2 in nats: its mean over uniform t is the bound's inner part.

    Written with 1 / sigma on the error, whose square and not whose SNR overflows, and without 1 /
    alpha, so that it is 0 where alpha is: rounding puts some times on 1.
    """
    c = coefficients(path, t)
    rate = c.alpha * (c.alpha * c.d_sigma / c.sigma - c.d_alpha)
    denoise = same_shape("denoise", denoise)
    error = expand(1 / c.sigma, x0) * (x0 - denoise(_noised(path, x0, eps, t), t))
    return rate * jnp.sum(error**2, axis=tuple(range(1, x0.ndim)))


def continuous_bound(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    num_times: int = 32,
    t_min: float = 0.0,
    bin_width: float | None = 2 / 256,
) -> dict[str, Float[Array, "B"]]:
    """An unbiased estimate of the bound in nats: "prior", "diffusion", "reconstruction".

    Args:
      key: one key, or one per example [B].
      x0: as for `variational_bound`: with `bin_width` centres of bins in [-1, 1], and a bound on a
        probability; with None a density.
      num_times: stratified times of each example; network calls: that number plus one.
      t_min: the cleanest time, above 0 on paths with sigma(0) = 0.
    """
    check_bin_width(bin_width)
    x0 = as_floats("x0", x0, least=jnp.float32)  # neither times nor sums in half precision
    check_range("num_times", num_times, 1, integer=True)
    check_range("t_min", t_min, 0, 1)
    denoise = same_shape("denoise", denoise)
    keys = sample_keys(key, x0.shape[0])
    draw = lambda index: normal(fold_in(keys, index), x0.shape[1:], x0.dtype)

    def add_term(total, index):
        offset = jax.vmap(jax.random.uniform)(fold_in(keys, num_times + 1 + index))
        t = t_min + (1 - t_min) * (index + offset.astype(x0.dtype)) / num_times
        return total + continuous_term(denoise, path, x0, draw(index), t), None

    zero = jnp.zeros(x0.shape[:1], x0.dtype)
    total, _ = jax.lax.scan(add_term, zero, jnp.arange(num_times))
    first = jnp.full(x0.shape[:1], t_min, x0.dtype)
    x_first = _noised(path, x0, draw(num_times), first)
    return {
        "prior": prior_term(path, x0),
        "diffusion": total * (1 - t_min) / num_times,
        "reconstruction": reconstruction_term(denoise, path, x0, x_first, first, bin_width),
    }


class Scheduled:
    """A network and a schedule as one network: its variables are {"network": , "schedule": }.

    `apply` is the network's. `path` is that of the schedule with some variables.
    """

    def __init__(self, network: Any, schedule: MonotoneSchedule, bin_width: float | None):
        self.network, self.schedule, self.bin_width = network, schedule, bin_width
        self.dropout = getattr(network, "dropout", 0)

    def init(self, key: Key[Array, ""], *inputs: Any) -> dict[str, Any]:
        key_network, key_schedule = jax.random.split(key)
        schedule = self.schedule.init(key_schedule, jnp.zeros(()))
        return {"network": self.network.init(key_network, *inputs), "schedule": schedule}

    def apply(self, variables: Any, *inputs: Any, **options: Any) -> Any:
        return self.network.apply(variables["network"], *inputs, **options)

    def path(self, variables: Any) -> GaussianPath:
        gamma: Any = partial(self.schedule.apply, variables["schedule"])
        return from_gamma(gamma)


def trained_path(model: GenerativeModel, state: State) -> GaussianPath:
    """The path of a trained schedule, of the moving average; ConfigError for another model."""
    parts, own = parts_of(model, state, Parts)
    if not isinstance(parts.network, Scheduled):
        raise ConfigError("model has a fixed path: variational_diffusion trains one")
    return parts.network.path(own.ema)


def _with_gradient(variables: Any, ends: bool) -> Any:
    """Variables with a gradient in the network and the schedule's ends, or in its shape alone."""
    stop = jax.lax.stop_gradient
    keep = lambda name, leaf: leaf if (name in ENDS) == ends else stop(leaf)
    schedule = {k: keep(k, leaf) for k, leaf in variables["schedule"]["params"].items()}
    network = variables["network"] if ends else stop(variables["network"])
    return {"network": network, "schedule": {"params": schedule}}


def variational_loss(
    parts: Parts, p: Preconditioned, params: Any, key: Key[Array, ""], batch: Batch
) -> tuple[Float[Array, "B"], Metrics]:
    """The bound in nats per dimension; the shape's gradient is that of its second moment.

    The bound's own gradient by the shape has mean 0 and is noise. The added term of the shape is 0
    in value, and shares the forward pass.
    """
    options, network = parts.options, parts.network
    key_encode, key_time, key_noise, key_first, key_drop = jax.random.split(key, 5)
    x0 = to_model_floats(options, key_encode, batch["x"])
    n = x0.shape[0]
    eps, first = (normal(sample_keys(k, n), x0.shape[1:], float) for k in (key_noise, key_first))
    value = None
    if options.condition is not None:
        value = options.condition.of_batch(batch)
        value = drop(key_drop, options.condition, value, options.condition_dropout, n)
    t = options.time_density(key_time, p.path, n)

    def inner(variables):
        path = network.path(variables)
        denoise = network_denoiser(p._replace(path=path), variables, value)
        return denoise, path, continuous_term(denoise, path, x0, eps, t)

    denoise, path, diffusion = inner(_with_gradient(params, True))
    free = inner(_with_gradient(params, False))[2]
    moment = jnp.mean(free**2) / jax.lax.stop_gradient(jnp.mean(free)) ** 2
    zero = jnp.zeros(n)
    x_first = _noised(path, x0, first, zero)
    ends = reconstruction_term(denoise, path, x0, x_first, zero, network.bin_width)
    bound = (prior_term(path, x0) + diffusion + ends) / x0[0].size
    gap = -log_snr(path, jnp.array([0.0, 1.0]))
    metrics = {
        "bound": bound,
        "diffusion": diffusion,
        "relative_moment": moment,
        "low": gap[0],
        "high": gap[1],
    }
    return bound + 0.5 * (moment - jax.lax.stop_gradient(moment)), metrics


def _step(
    parts: Parts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    key, p = with_dropout(key, parts)
    loss = lambda params: variational_loss(parts, p, params, key, batch)
    return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)


def _log_prob(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    x: Array | np.ndarray,
    *,
    num_times: int = 32,
    **conditions: Any,
) -> Float[Array, "B"]:
    """A lower bound on log p(x | condition) [B] in nats and data units, in the mean over the key.

    Args:
      num_times: of `continuous_bound`.
    """
    n, network = x.shape[0], parts.network
    keys = sample_keys(key, n)
    u = to_model_floats(parts.options, fold_in(keys, 0), jnp.asarray(x))
    path = network.path(state.ema)
    on_path = parts._replace(path=path)
    value = value_of(parts.options.condition, conditions, n)
    denoise = plain_denoiser(on_path, state.ema, value, n)
    options: Any = {"num_times": num_times, "bin_width": network.bin_width}
    terms = continuous_bound(fold_in(keys, 1), denoise, path, u, **options)
    return log_det(parts.options, u) - sum(terms.values())


@no_type_check
def variational_diffusion(
    network: Any,
    optimizer: optax.GradientTransformation,
    *,
    schedule: MonotoneSchedule | None = None,
    bin_width: float | None = None,
    **options: Any,
) -> GenerativeModel:
    """A diffusion model trained on its likelihood; `options` are the fields of `diffusion.Options`.

    Args:
      schedule: `nets.MonotoneSchedule()` by default.
      bin_width: None for a density; or the width of the bins in [-1, 1] whose centres the transform
        gives (`data.bin_centres()`: 2 / 256), and `log_prob` bounds a probability.
    Samples run from the schedule's first `high` to its `low`, uniformly in log-SNR unless a path is
    given: what the network learns depends on the signal-to-noise ratio alone. Raises ConfigError
    for options of other losses, and for those out of range.
    """
    refused = sorted(NOT_READ & options.keys())
    if refused:
        raise ConfigError(f"{', '.join(refused)}: not of a variational model, whose loss is fixed")
    check_bin_width(bin_width)
    schedule = MonotoneSchedule() if schedule is None else schedule
    if not isinstance(schedule, MonotoneSchedule):
        raise ConfigError(f"schedule={shown(schedule)} must be a nets.MonotoneSchedule(...)")
    low, high = schedule.low, schedule.high
    path = from_gamma(lambda t: low * (1 - t) + high * t)
    parts = make_parts(network, path, optimizer, options_from(Options, options))
    parts = parts._replace(network=Scheduled(parts.network, schedule, bin_width))
    model = model_from_parts(parts, log_prob=_log_prob)
    return model._replace(step=partial(_step, parts))
