"""What a diffusion or flow-matching model is made of: its options, their checks, its parts."""

import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from gen_jax.checks import check_arguments, check_output, is_known, no_type_check
from gen_jax.conditions import Condition, checked_condition, configured
from gen_jax.diffusion.learned_variance import ancestral_with, hybrid_steps_loss
from gen_jax.diffusion.loss_names import LOSSES
from gen_jax.diffusion.losses import WEIGHTINGS, off_the_poles
from gen_jax.diffusion.network import NOISE_INPUTS, Preconditioned, predict_both
from gen_jax.diffusion.sampler import Stepper
from gen_jax.diffusion.steppers import STEPPERS
from gen_jax.diffusion.time_sampling import TIME_DENSITIES
from gen_jax.errors import ConfigError, check_choice, check_shape
from gen_jax.parameterisations import PARAMETERISATIONS
from gen_jax.paths import PATHS, GaussianPath, check_path, coefficients
from gen_jax.ranges import Count, Positive, Range, Share, check_ranges
from gen_jax.types import Array, Denoiser, Float, Key


class Options(NamedTuple):
    """Options of `diffusion` and `flow_matching`.

    Fields:
      shape: of one example after the transform.
      prediction: what the network predicts: "x0", "eps", "score", "v", "velocity" or "F".
      weighting, time_density: names in WEIGHTINGS and TIME_DENSITIES, or functions like theirs.
      data_std: standard deviation of the transformed data.
      noise_input: what the network sees of the time: a name in NOISE_INPUTS, or a function like
        theirs.
      loss: a name in LOSSES, or a function like theirs. With "hybrid" the reverse variances are
        learned (nichol2021): the network returns twice the channels (those of `gen_jax.nets` are
        made so), and there is a stepper "learned_ancestral".
      variance_steps: of "hybrid", the number of steps whose variances are learned.
      condition: None, or what batches hold besides "x", such as `conditions.labels(10)`.
      condition_dropout: probability of hiding an example's condition in training.
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      transform: `data.Transform` between data units and the path's x0, or None.
      source: `(key) -> [*shape]`, one example of what replaces standard normal noise, or None.
      start: `(key, value) -> [*shape]`, the same from one example's value of the condition, such as
        a degraded image with noise on it, or None.
      coupling: `(key, x0, x1) -> indices [B]` pairing a batch of data with one of noise, or None.
      stepper, num_steps: defaults of `sample`. `benchmarks/results/solvers_cpu.md` compares the
        error of "adams" with the best peer's, with 5 to 80 calls. For fresh noise in each step
        choose "ddpm" or "dpm_solver_pp_sde".
      likelihood: options of `ode_log_prob` that `log_prob` uses.
    """

    shape: tuple[int, ...]
    prediction: str = "v"
    weighting: Any = "uniform"
    time_density: Any = "low_discrepancy"
    data_std: Positive = 1.0
    noise_input: Any = "log_snr"
    loss: Any = "denoising"
    variance_steps: Annotated[int, Range(2)] = 100
    condition: Condition | None = None
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999
    transform: Any = None
    source: Callable | None = None
    start: Callable | None = None
    coupling: Callable | None = None
    stepper: str | Stepper = "adams"
    num_steps: Count = 32
    likelihood: Mapping[str, Any] = {}


ARGUMENTS = {
    "weighting": ("coefficients", "prediction", "data_std"),
    "time_density": ("key", "path", "n"),
    "noise_input": ("path", "t"),
    "source": ("key",),
    "start": ("key", "value"),
    "coupling": ("key", "x0", "x1"),
}
"""What options that are functions are called with."""


def resolve(argument: str, value: Any, registry: Mapping[str, Any]) -> Any:
    """The registry's entry when `value` is a name, or `value` itself."""
    return registry[check_choice(argument, value, registry)] if isinstance(value, str) else value


def resolve_path(value: Any) -> GaussianPath:
    """A path from its name in PATHS, or the path itself."""
    return resolve("path", value, PATHS)() if isinstance(value, str) else check_path(value)


def checked(options: Options) -> Options:
    """The options with names replaced by functions; raises ConfigError for what cannot work."""
    check_choice("prediction", options.prediction, PARAMETERISATIONS)
    check_shape("shape", options.shape)
    check_ranges(options)
    checked_condition(options.condition)
    if options.start is not None and (options.source or options.coupling):
        raise ConfigError("start takes the place of noise: not beside a source or coupling")
    if options.start is not None and options.condition is None:
        raise ConfigError("start needs a condition, from whose value it draws")
    resolved = {
        "weighting": resolve("weighting", options.weighting, WEIGHTINGS),
        "time_density": resolve("time_density", options.time_density, TIME_DENSITIES),
        "noise_input": resolve("noise_input", options.noise_input, NOISE_INPUTS),
    }
    for name, arguments in ARGUMENTS.items():
        function = resolved.get(name, getattr(options, name))
        if function is not None:
            check_arguments(name, function, arguments)
    loss = resolve("loss", options.loss, LOSSES)
    if loss is not hybrid_steps_loss or options.stepper != "learned_ancestral":
        resolve("stepper", options.stepper, STEPPERS)
    return options._replace(loss=loss, **resolved)


def draw_source(
    options: Options, keys: Key[Array, "B"], value: Any = None
) -> Float[Array, "B ..."]:
    """What the path mixes into the data, [B, *shape], from one key per example.

    Args:
      value: of the condition, [B, ...]; only `options.start` reads it.
    """
    shape = (len(keys), *options.shape)
    if options.start is not None:
        what = "with a leading axis of samples, "
        return check_output("start", jax.vmap(options.start)(keys, value), shape, what)
    draw = options.source or (lambda key: jax.random.normal(key, options.shape))
    return check_output("source", jax.vmap(draw)(keys), shape, "with a leading axis of samples, ")


def check_weighting(options: Options, path: GaussianPath) -> None:
    """Raise ConfigError for a user's weighting with weights that are negative or not finite.

    A negative one pushes the network away from its target. Looked at where it is known.
    """
    if options.weighting in WEIGHTINGS.values():
        return
    with jax.ensure_compile_time_eval():
        t = off_the_poles(path, jnp.linspace(0, 1, 9))
        found = options.weighting(coefficients(path, t), options.prediction, options.data_std)
        if not is_known(check_output("weighting", found, t.shape)):
            return
        low, high = float(jnp.min(found)), float(jnp.max(found))
    if not 0 <= low <= high < float("inf"):
        raise ConfigError(
            f"weighting returned weights in [{low:g}, {high:g}], allowed: finite and at least 0"
        )


def is_normal(options: Options) -> bool:
    """Whether the path mixes standard normal noise into the data, independent of them."""
    return not (options.source or options.start or options.coupling)


class Parts(NamedTuple):
    """What samples, densities and the family's functions of a trained model are made of.

    Fields:
      weaker: parameters of a weaker model, the guide of autoguidance (karras2024), or None.
      guide: `(denoise, condition, path) -> denoise` that is always applied, or None; it sees the
        condition's value [B, ...].
      conditioned: whether the network sees the condition, and not the guide alone.
      steppers: the model's own by name, `(parts, params, condition) -> Stepper`.
    """

    network: Any
    path: GaussianPath
    optimizer: optax.GradientTransformation
    options: Options
    weaker: Any = None
    guide: Callable[[Denoiser, Any, GaussianPath], Denoiser] | None = None
    conditioned: bool = True
    steppers: Mapping[str, Callable[[Any, Any, Any], Stepper]] = {}

    @property
    def learned_variance(self) -> bool:
        """Whether the network returns a variance's fraction beside its prediction."""
        return self.options.loss is hybrid_steps_loss

    @property
    def preconditioned(self) -> Preconditioned:
        """The network with its scalings."""
        o = self.options
        return Preconditioned(
            self.network.apply,
            self.path,
            o.prediction,
            o.data_std,
            o.noise_input,
            self.learned_variance,
        )


SIGNAL = 1.0
"""Most of the data that a path may end with, in deviations of the noise, before it is a warning.
Ladders for Langevin's steps end with a quarter or a half of it: these move from any start."""


def warn_signal(options: Options, path: GaussianPath) -> None:
    """Warn where the noise at t = 1 does not hide data of deviation `data_std`.

    Samples start from the noise alone, and the likelihood scores x_1 by a normal distribution: both
    are then wrong, and no number of steps mends it.
    """
    if not is_normal(options):
        return
    with jax.ensure_compile_time_eval():
        end = jnp.ones(())
        data, noise = path.alpha(end) * options.data_std, path.sigma(end)
        shows = data > SIGNAL * noise
    if is_known(shows) and shows:
        warnings.warn(
            f"the path ends with data of deviation {float(data):.3g} in noise of deviation "
            f"{float(noise):.3g}, which does not hide them: samples and "
            "likelihoods will be wrong; scale the data to data_std=1 (transform), or take a "
            "path that ends in noise, such as linear",
            stacklevel=2,
        )


def check_network(network: Any) -> None:
    """Raise ConfigError for a Flax module that is not called with (x, noise, condition)."""
    if isinstance(network, nn.Module):
        check_arguments("network", type(network).__call__, ("self", "x", "noise", "condition"))


@no_type_check
def make_parts(
    network: Any,
    path: str | GaussianPath,
    optimizer: optax.GradientTransformation,
    options: Options,
) -> Parts:
    """The parts of a model. Raises ConfigError for what does not fit together; warns of a path that
    ends with much of the data."""
    options, path = checked(options), resolve_path(path)
    network = configured("network", network, options.condition)
    check_network(network)
    if options.prediction in ("eps", "score") and float(path.alpha(jnp.ones(()))) == 0:
        raise ConfigError(
            f"prediction={options.prediction!r} does not determine x0 at t = 1 of a path with "
            "alpha(1) = 0 (choose from: x0, v, velocity, F; or another path, such as vp)"
        )
    check_weighting(options, path)
    warn_signal(options, path)
    parts = Parts(network, path, optimizer, options)
    if not parts.learned_variance:
        return parts
    if hasattr(network, "outputs"):
        parts = parts._replace(network=network.clone(outputs=2))
    return parts._replace(steppers={"learned_ancestral": _learned_ancestral})


def _learned_ancestral(parts: Parts, params: Any, value: Any) -> Stepper:
    p = parts.preconditioned
    return ancestral_with(lambda x, t: jnp.clip(predict_both(p, params, x, t, value)[1], 0, 1))
