"""Rectified flow by rounds (liu2023): train again on the pairs that the last flow connects."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.annotations import floats
from gen_jax.checks import as_array, as_times, no_type_check
from gen_jax.condition_values import value_of
from gen_jax.data_units import to_data
from gen_jax.diffusion import GRIDS, STEPPERS, Parts, denoiser
from gen_jax.diffusion.sampler import Stepper, check_stepper, prior, sample
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel
from gen_jax.paths import GaussianPath, velocity
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.solvers.ode import integrate
from gen_jax.types import Array, Denoiser, Float, Key, State


@floats(x1="B ...", times="n")
def straightness(
    denoise: Denoiser,
    path: GaussianPath,
    x1: Float[Array, "B ..."],
    times: Float[Array, " times"],
) -> Float[Array, "B"]:
    """int |(x1 - x0) - dx/dt|^2 dt along each trajectory from x1 to its end x0 (liu2023, eq. 5).

    0 for straight lines of constant speed, which one Euler step follows exactly. Meant for the
    linear path. The squared norm is summed over dimensions; the integral is a trapezoidal sum.

    Args:
      times: falling from 1 to 0, [n + 1]; fine enough for RK4.
    Raises ConfigError for times that do not fall.
    """
    times = as_times(times)
    field = velocity(denoise, path)
    # At t = 0 the velocity of a denoiser is 0 / 0, near it a difference of rounded numbers.
    smallest = max(float(jnp.finfo(a.dtype).eps) for a in (x1, times)) ** 0.5
    at_time = lambda x, t: field(x, jnp.full(x.shape[:1], jnp.maximum(t, smallest)))
    states = integrate(at_time, x1, times, method="rk4", trajectory=True)
    line = states[0] - states[-1]
    axes = tuple(range(1, x1.ndim))
    gap = lambda at: jnp.sum((line - at_time(*at)) ** 2, axis=axes)
    gaps = jax.lax.map(gap, (states, times))
    widths = -jnp.diff(times)[:, None]
    return jnp.sum(0.5 * (gaps[1:] + gaps[:-1]) * widths, axis=0)


def paired_data(
    key: Key[Array, ""],
    model: GenerativeModel,
    state: State,
    conditions: Mapping[str, Any],
    n: int,
    *,
    num_steps: int = 32,
    stepper: str = "heun",
    batch_size: int = 500,
) -> dict[str, np.ndarray]:
    """n pairs of a trained model as data for `training.fit`: "x0", "x1", and "x" in data units.

    By the moving average, each pair from its own key: the same pairs whatever the batch size.

    Args:
      conditions: what `diffusion.denoiser` takes, arrays with a row for each pair.
      num_steps: of a deterministic stepper in STEPPERS; few of them bend the pairs.
    Raises ConfigError for a stochastic stepper, for a path that ends with signal left, for a model
    with another source than noise, and for conditions of another number of rows.
    """
    parts, _ = parts_of(model, state, Parts)
    path = parts.path
    check_range("n", n, 1, integer=True)
    check_range("batch_size", batch_size, 1, integer=True)
    conditions = {name: as_array(name, value) for name, value in conditions.items()}
    for name, value in conditions.items():
        if value.shape[:1] != (n,):  # an index beyond the last row would be that row
            raise ConfigError(f"{name} has shape {value.shape}, must have a row for each of {n}")
    value_of(parts.options.condition, conditions, n)  # what is traced below is not looked at
    check_choice("stepper", stepper, STEPPERS)
    if float(path.alpha(jnp.ones(()))) > 1e-2 * float(path.sigma(jnp.ones(()))):
        raise ConfigError("path must end at noise: its pairs would hold data in the noise")
    if parts.options.source is not None or parts.options.start is not None:
        raise ConfigError("model must have normal noise as its source")
    made = STEPPERS[stepper]()
    std, shape = parts.options.data_std, tuple(parts.options.shape)
    times = GRIDS[made.grid](path, num_steps, data_std=std)

    @jax.jit
    def draw(keys, state, conditions):
        denoise = denoiser(model, state, **conditions)
        return reflow_pairs(keys, denoise, path, (len(keys), *shape), times, made, data_std=std)

    keys, size, chunks = sample_keys(key, n), min(batch_size, n), []
    for start in range(0, n, size):
        rows = np.minimum(np.arange(start, start + size), n - 1)
        one = {name: jnp.asarray(value)[rows] for name, value in conditions.items()}
        chunks.append([np.asarray(a)[: n - start] for a in draw(keys[rows], state, one)])
    x0, x1 = (np.concatenate(part) for part in zip(*chunks, strict=True))
    x = np.concatenate([to_data(parts.options, jnp.asarray(part[0])) for part in chunks])
    return {"x": x, "x0": x0, "x1": x1}


@no_type_check
def reflow_pairs(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    shape: tuple[int, ...],
    times: Float[Array, " times"],
    stepper: Stepper,
    *,
    data_std: float = 1.0,
) -> tuple[Float[Array, "B ..."], Float[Array, "B ..."]]:
    """(x0, x1) [B, ...]: noise x1 and the sample x0 that the deterministic flow makes of it.

    Draw them once, keep them together, and train `flow_matching` with `coupling=None` on them.

    Args:
      shape: (B, ...); key: one key, or one per pair [B].
      data_std: of the data, see `diffusion.prior` and `diffusion.sample`.
    Raises ConfigError for a stochastic stepper: its pairs do not belong together.
    """
    if check_stepper(stepper).stochastic:
        raise ConfigError("stepper must be deterministic: noise on the way unties the pairs")
    keys = sample_keys(key, shape[0])
    x1 = prior(fold_in(keys, 0), path, shape, t=times[0], data_std=data_std)
    x0 = sample(fold_in(keys, 1), denoise, path, x1, times, stepper, data_std=data_std)
    return x0, x1  # type: ignore[return-value]
