"""What a diffusion or flow-matching model is made of: its state, its options and their checks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from gen_jax.checks import check_output
from gen_jax.diffusion.losses import WEIGHTINGS
from gen_jax.diffusion.network import NOISE_INPUTS
from gen_jax.diffusion.sampler import Stepper
from gen_jax.diffusion.steppers import STEPPERS
from gen_jax.diffusion.time_sampling import TIME_DENSITIES
from gen_jax.errors import check_choice, check_range, check_shape
from gen_jax.paths import PARAMETERISATIONS, PATHS, GaussianPath, check_path
from gen_jax.types import Array, Float, Key


class Options(NamedTuple):
    """Options of `diffusion` and `flow_matching`.

    Fields:
      shape: of one example after the transform.
      prediction: what the network predicts: "x0", "eps", "score", "v", "velocity" or "F".
      weighting, time_density: names in WEIGHTINGS and TIME_DENSITIES, or functions like theirs.
      data_std: standard deviation of the transformed data.
      noise_input: what the network sees of the time: a name in NOISE_INPUTS, or a function like
        theirs.
      num_classes: 0, or the number of labels; batches then need "y".
      label_dropout: probability of replacing a label by num_classes, "no label".
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      transform: `data.Transform` between data units and the path's x0, or None.
      source: `(key) -> [*shape]`, one example of what replaces standard normal noise, or None.
      coupling: `(key, x0, x1) -> indices [B]` pairing a batch of data with one of noise, or None.
      stepper, num_steps: defaults of `sample`. On the linear path, with 5 to 80 calls, the error of
        "adams" is at most 1.01 times the best peer's on two mixtures (other paths were not
        measured; `benchmarks/results/solvers_cpu.md`). For fresh noise in each step choose "ddpm"
        or "dpm_solver_pp_sde".
      likelihood: options of `ode_log_prob` that `log_prob` uses.
    """

    shape: tuple[int, ...]
    prediction: str = "v"
    weighting: Any = "uniform"
    time_density: Any = "low_discrepancy"
    data_std: float = 1.0
    noise_input: Any = "log_snr"
    num_classes: int = 0
    label_dropout: float = 0.1
    ema_decay: float = 0.999
    transform: Any = None
    source: Callable | None = None
    coupling: Callable | None = None
    stepper: str | Stepper = "adams"
    num_steps: int = 32
    likelihood: Mapping[str, Any] = {}


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
    check_range("data_std", options.data_std, 0, open_low=True)
    check_range("num_classes", options.num_classes, 0, integer=True)
    check_range("label_dropout", options.label_dropout, 0, 1)
    check_range("ema_decay", options.ema_decay, 0, 1)
    check_range("num_steps", options.num_steps, 1, integer=True)
    resolve("stepper", options.stepper, STEPPERS)
    return options._replace(
        weighting=resolve("weighting", options.weighting, WEIGHTINGS),
        time_density=resolve("time_density", options.time_density, TIME_DENSITIES),
        noise_input=resolve("noise_input", options.noise_input, NOISE_INPUTS),
    )


def draw_source(options: Options, keys: Key[Array, "B"]) -> Float[Array, "B ..."]:
    """What the path mixes into the data, [B, *shape], from one key per example."""
    draw = options.source or (lambda key: jax.random.normal(key, options.shape))
    shape = (len(keys), *options.shape)
    return check_output("source", jax.vmap(draw)(keys), shape, "with a leading axis of samples, ")
