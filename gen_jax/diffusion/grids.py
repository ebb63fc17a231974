"""Time grids: falling times [n + 1] from noise to 0, the data.

A grid covers its path's own range of noise levels sigma / alpha, from the first time, 1, to the
last time before 0. `sigma_max` starts it later, at that level; `sigma_min` ends it earlier, with
the last step to the data from that level. Equal steps in log(sigma / alpha) need finite ends: where
a path has none (sigma(0) = 0, or alpha(1) = 0), "karras" and "log_snr" take SIGMA_MIN and
SIGMA_MAX, in units of `data_std`; the first time stays 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.diffusion.adams import stretch
from gen_jax.errors import ConfigError, check_range
from gen_jax.paths import GaussianPath, log_snr, time_of_log_snr
from gen_jax.types import Array, Float, Int

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""karras2022's noise levels, for data of unit size: the ends where a path has no end of its own."""
WARP = 3.0
"""Of `rising`: with 8 to 16 steps its error is the least of 1, 3, 10 and 30 for a mixture in two
dimensions and for MNIST."""


def _range(
    path: GaussianPath, sigma_min: float | None, sigma_max: float | None
) -> tuple[Array | float, Array | float, Array | float]:
    """(lowest, highest noise level, time of the highest); the path's own where none is given.

    Raises ConfigError for levels out of order, or outside of the path's own range.
    """
    with jax.ensure_compile_time_eval():
        own = jnp.exp(-0.5 * log_snr(path, jnp.array([0.0, 1.0])))
    known = not isinstance(own, jax.core.Tracer)
    ends = [float(end) for end in np.asarray(own)] if known else [own[0], own[1]]
    least, most = ends if known else (0.0, float("inf"))
    for name, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        if level is None:
            continue
        check_range(name, level, 0, open_low=True)
        if not 0.999 * least <= level <= 1.001 * most:
            raise ConfigError(
                f"{name}={level} is outside of the path's noise levels, {least:g} to {most:g}"
            )
    low = ends[0] if sigma_min is None else sigma_min
    high = ends[1] if sigma_max is None else sigma_max
    if known and not low < high:
        raise ConfigError(f"sigma_min={low:g} must be below sigma_max={high:g}")
    start = 1.0 if sigma_max is None else time_of_log_snr(path, -2 * jnp.log(sigma_max))
    return low, high, start


def _has_own_range(path: GaussianPath) -> Array:
    """Whether the noise alone makes the path: some is left at t = 0, and alpha does not fall to 0.

    So it is of ve and edm, but not of flow matching's sigma = s + (1 - s) t with a small s.
    """
    start, end = path.alpha(jnp.zeros(())), path.alpha(jnp.ones(()))
    return (path.sigma(jnp.zeros(())) > 0) & (end > 0.05 * start)


def _falling(high: Array | float, low: Array | float, n: int, given: bool) -> Array:
    """n equally spaced numbers from high: down to `low` if it was given, else n steps to 0.

    Without a given end the last number is high / n, but not below low.
    """
    check_range("num_steps", n, 1, integer=True)
    return jnp.linspace(high, low if given else jnp.maximum(high / n, low), n)


def _levels_to_times(path: GaussianPath, levels: Array, start: Array | float) -> Array:
    """Times of falling noise levels sigma / alpha, then 0; the first is `start`."""
    times = time_of_log_snr(path, -2 * jnp.log(levels)).at[0].set(start)
    return jnp.concatenate([times, jnp.zeros(1)])


def uniform(
    path: GaussianPath,
    n: int,
    *,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """n equal steps in the path's own t, from 1 to 0."""
    low, _, start = _range(path, sigma_min, sigma_max)
    end = 0.0 if sigma_min is None else time_of_log_snr(path, -2 * jnp.log(low))
    return jnp.concatenate([_falling(start, end, n, sigma_min is not None), jnp.zeros(1)])


def flow(
    path: GaussianPath,
    n: int,
    *,
    exponent: float = 1.5,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """For methods on dx / dt: t = (1 - i / n)^exponent, and the Karras grid on paths like ve, edm.

    Steps shrink towards the data, where sigma may be steep (vp), and no step leaps over much of the
    noise where alpha = 1 and the noise falls by orders of magnitude (ve, edm).
    """
    check_range("exponent", exponent, 0, open_low=True)
    low, _, start = _range(path, sigma_min, sigma_max)
    given = sigma_min is not None
    end = time_of_log_snr(path, -2 * jnp.log(low)) if given else 0.0
    root = lambda t: jnp.asarray(t) ** (1 / exponent)
    times = jnp.append(_falling(root(start), root(end), n, given) ** exponent, 0.0)
    options = {"data_std": data_std, "sigma_min": sigma_min, "sigma_max": sigma_max}
    own = karras(path, n, **options)  # type: ignore[arg-type]
    return jnp.where(_has_own_range(path), own, times)


def power(
    path: GaussianPath,
    n: int,
    *,
    exponent: float = 1.5,
    tails: float = 1.0,
    data_std: float | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """u = (1 - i / n)^exponent, sigma / alpha = (u / (1 - u))^tails, in units of `data_std`.

    With tails 1 this is t^1.5 of the linear path, where t = u, on any path: the steps shrink
    towards the data and no end has to be chosen. Exponent 1 is the linear path's uniform grid.
    Larger tails put more steps near both ends.
    Where the size of the data is not given it is 1; but a path whose noise has a range of its own
    (ve, edm) may serve data of any size, and takes the Karras grid then.
    """
    check_range("exponent", exponent, 0, open_low=True)
    check_range("tails", tails, 0, open_low=True)
    low, high, start = _range(path, sigma_min, sigma_max)
    std = 1.0 if data_std is None else data_std
    place = lambda level: 1 / (1 + (std / jnp.asarray(level)) ** (1 / tails))
    root = lambda level: place(level) ** (1 / exponent)
    u = _falling(root(high), root(low), n, sigma_min is not None) ** exponent
    times = _levels_to_times(path, std * (u / (1 - u)) ** tails, start)
    if data_std is not None:
        return times
    own = karras(path, n, sigma_min=sigma_min, sigma_max=sigma_max)
    return jnp.where(_has_own_range(path), own, times)


def stretched(path: GaussianPath, n: int, **options) -> Float[Array, " times"]:
    """`power` with tails that grow with the number of steps (`adams.stretch`): that of `adams`.

    Its exponent is 1.25, the best of five at 5 to 80 steps on two mixtures and two trained networks
    (`benchmarks.solvers`).
    """
    check_range("num_steps", n, 1, integer=True)
    with jax.ensure_compile_time_eval():
        tails = float(stretch(n))
    return power(path, n, **{"tails": tails, "exponent": 1.25} | options)


def linear(path: GaussianPath, n: int, **options) -> Float[Array, " times"]:
    """The noise levels of the linear path at equal steps in its t, on any path; see `power`."""
    return power(path, n, exponent=1.0, **options)


def _finite(path, data_std, sigma_min, sigma_max) -> tuple[Array, Array, Array | float]:
    """`_range` with finite ends."""
    low, high, start = _range(path, sigma_min, sigma_max)
    low = jnp.where(low == 0, SIGMA_MIN * data_std, low)
    return low, jnp.where(jnp.isinf(high), SIGMA_MAX * data_std, high), start


def karras(
    path: GaussianPath,
    n: int,
    *,
    rho: float = 7.0,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """karras2022 eq. 5: noise levels sig with sig^(1 / rho) uniform; the warp is not on t."""
    check_range("num_steps", n, 1, integer=True)
    low, high, start = _finite(path, data_std, sigma_min, sigma_max)
    levels = jnp.linspace(high ** (1 / rho), low ** (1 / rho), n) ** rho
    return _levels_to_times(path, levels, start)


def rising(
    path: GaussianPath, n: int | Int[Array, ""], data_std: float | Array
) -> Callable[[Array], tuple[Array, Array]]:
    """`(t, dphi / di)` at real i, from the data, i = 0, to the noise, t = 1, i = n; tan phi is
    sigma / (alpha data_std).

    Levels r = sigma / alpha are uniform in log(r / (r + WARP data_std)): in log r where the data's
    details are, and with a finite end at infinite r.
    """
    unit = WARP * data_std
    low, high, end = _range(path, None, None)
    first = -jnp.log1p(unit / jnp.where(low == 0, SIGMA_MIN * data_std, low))
    last = -jnp.log1p(unit / high)

    def at(i):
        place = first + (last - first) * (i / n)
        ratio = jnp.expm1(-place) / unit  # alpha / sigma
        known = jnp.maximum(ratio, jnp.finfo(ratio.dtype).tiny)
        t = jnp.where(i == n, end, time_of_log_snr(path, 2 * jnp.log(known)))
        d_ratio = (last - first) / n * jnp.exp(-place) / unit
        return t, data_std * d_ratio / (1 + (data_std * ratio) ** 2)

    return at


def log_snr_uniform(
    path: GaussianPath,
    n: int,
    *,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """Noise levels uniform in log(sigma / alpha): the grid that DPM-Solver++ is meant for."""
    check_range("num_steps", n, 1, integer=True)
    low, high, start = _finite(path, data_std, sigma_min, sigma_max)
    return _levels_to_times(path, jnp.exp(jnp.linspace(jnp.log(high), jnp.log(low), n)), start)


def ddpm_subsequence(
    path: GaussianPath,
    n: int,
    *,
    num_steps: int = 1000,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, " times"]:
    """n of DDPM's `num_steps` times (k + 1) / T, trailing spacing (lin2024, table 2), then 0."""
    check_range("num_steps", n, 1, num_steps, integer=True)
    if sigma_min is not None or sigma_max is not None:
        raise ConfigError(
            f"sigma_min={sigma_min}, sigma_max={sigma_max}: the grid ddpm_subsequence covers all "
            "of DDPM's own steps (choose another grid for another range)"
        )
    return jnp.round(jnp.linspace(num_steps, 0, n + 1)) / num_steps


def ends(
    path: GaussianPath,
    n: int = 2,
    *,
    data_std: float = 1.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
) -> Float[Array, "3"]:
    """The noisy end, the cleanest level, and 0: for steppers that choose their own steps."""
    low, high, start = _finite(path, data_std, sigma_min, sigma_max)
    return _levels_to_times(path, jnp.stack([high, low]), start)


GRIDS: dict[str, Callable[..., Array]] = {
    "uniform": uniform,
    "flow": flow,
    "power": power,
    "stretched": stretched,
    "linear": linear,
    "karras": karras,
    "log_snr": log_snr_uniform,
    "ddpm_subsequence": ddpm_subsequence,
    "ends": ends,
}
"""Every time grid by name: `(path, n, *, data_std, sigma_min, sigma_max) -> times [n + 1]`."""
