"""Likelihood by the probability-flow ODE (song2021, section 4.3; chen2018), and its error.

Along dx / dt = u(x, t): d log p_t(x_t) / dt = -div u, so that

    log p_0(x_0) = log p_1(x_1) + integral over t from 0 to 1 of div u.

With s = data_std it is solved for y = x / (alpha^2 s^2 + sigma^2)^(1/2) along the angle phi of
tan phi = sigma / (alpha s), where no path has a pole, and paths differ in their ends alone:

    dy / dphi = (cos phi y - E[x0 | x] / s) / sin phi,

which is 0 for data of N(0, s^2).

Integration starts a little above t = 0, at noise level SIGMA_MIN of the grids (in units of
`data_std`, or at the path's own end): the result is the density of data with that much noise.

Far from the data the equation is stiff: between two modes the flow towards noise draws points onto
the ridge where both are equally likely, at a rate without bound in the distance, and there a fixed
step h with rate x h above 2.8 (rk4) jumps to and fro. The result is then wrong by up to hundreds of
nats, and many more steps change little. An adaptive solver takes small steps there alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.axes import expand
from gen_jax.calls import counted, network_call
from gen_jax.checks import as_times, check_output, is_known
from gen_jax.diffusion.flow_ode import for_each_sample
from gen_jax.diffusion.grids import rising
from gen_jax.errors import ConfigError, check_choice, check_range, shown
from gen_jax.paths import GaussianPath, time_of_log_snr
from gen_jax.randomness import sample_keys
from gen_jax.solvers import adaptive, ode
from gen_jax.solvers.divergence import DIVERGENCES
from gen_jax.types import Array, Denoiser, Float, Int, Key


class LikelihoodInfo(NamedTuple):
    """What `ode_log_prob` learnt.

    Fields:
      error: [B] in nats: the difference from a coarser solve, with half the steps or ten times the
        tolerance. The estimate is that of the coarser one, which is above that of the result.
      calls: network calls of both solves; an exact divergence adds D to each evaluation.
    """

    error: Float[Array, "B"]
    calls: Int[Array, ""]


def ode_log_prob(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    method: str | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    num_steps: int | Int[Array, ""] | None = None,
    times: Float[Array, " times"] | None = None,
    divergence: str = "exact",
    num_probes: int = 1,
    data_std: float = 1.0,
) -> Float[Array, "B"]:
    """log p(x0) in nats, in the units of x0.

    Args:
      key: one key, or one per example [B]; draws the Rademacher probes, the same along a
        trajectory.
      method: adaptive, "dopri5" (the default) or "tsit5", with steps of its own for each example;
        or a name in `solvers.TABLEAUS` with fixed steps, "rk4" where num_steps or times are given.
      tolerance: of an adaptive method: rtol and atol of one step, in y and in nats. In float32 on
        the linear path, a mixture in 16 dimensions at three times its samples (-500 to -820 nats):
        error below 0.03 nats at 1e-5 and 0.004 at 1e-6, where rk4 was off by up to 113 with 64
        steps and by 29 with 256.
      max_steps: of an adaptive method; an example that needs more is NaN. For gradients in x0 or
        the parameters take a fixed method.
      num_steps: of a fixed method, equal in log(r / (r + 3 data_std)) at noise level r = sigma /
        alpha (64): the integrand grows as 1 / r near the data, and is smooth in that. The network
        and its divergence are evaluated at each stage of a step. In an array it is no constant of
        the program, which then serves all numbers but has no gradients by reverse mode.
      times: rising times from near 0 to 1 instead of that grid, with steps in phi between them; of
        an adaptive method, the first and the last of them.
      divergence: "exact" (D jvps per evaluation) or "hutchinson" (unbiased, a jvp per probe).
      num_probes: of "hutchinson", whose variance falls as 1 / num_probes.
      data_std: of the data; the unit of the grid's noise levels. The end point is scored by
        N(0, sigma(1)^2 + alpha(1)^2 data_std^2). On a path that ends with some signal this is one
        more error, which no solve sees: about alpha(1) m . x_1 / sigma(1)^2 for a point that ends
        at x_1 far out, m the mean of the part of the data that it is nearest to.
    Raises ConfigError for an unknown method or divergence, a tolerance or a number of steps or
    probes that is not positive, several probes of the exact divergence, num_steps of an adaptive
    method, and times that do not rise, or start where there is no noise.
    """
    return _solver(
        key,
        denoise,
        path,
        x0,
        method,
        divergence,
        data_std,
        num_probes=num_probes,
        tolerance=tolerance,
        max_steps=max_steps,
        num_steps=num_steps,
        times=times,
    )(coarse=False)


def ode_log_prob_with_error(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    *,
    method: str | None = None,
    divergence: str = "exact",
    data_std: float = 1.0,
    **options: Any,
) -> tuple[Float[Array, "B"], LikelihoodInfo]:
    """`ode_log_prob`, and its error estimated by a second, coarser solve.

    Raises ConfigError as `ode_log_prob` does, and for a single step.
    """
    network = network_call(denoise)
    solve = _solver(key, network, path, x0, method, divergence, data_std, twice=True, **options)
    (fine, coarse), calls = counted(lambda: (solve(coarse=False), solve(coarse=True)))()
    return fine, LikelihoodInfo(jnp.abs(fine - coarse), calls)


def _solver(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    method: str | None,
    divergence: str,
    data_std: float,
    *,
    num_probes: int = 1,
    tolerance: float = 1e-6,
    max_steps: int = 4096,
    num_steps: int | Int[Array, ""] | None = None,
    times: Float[Array, " times"] | None = None,
    twice: bool = False,
) -> Callable:
    """`(coarse) -> log p [B]`, with half of the steps or ten times the tolerance where coarse."""
    measure = DIVERGENCES[check_choice("divergence", divergence, DIVERGENCES)]
    if method is None:
        method = "dopri5" if num_steps is None and times is None else "rk4"
    check_choice("method", method, (*adaptive.METHODS, *ode.TABLEAUS))
    adapts = method in adaptive.METHODS
    if adapts and num_steps is not None:
        raise ConfigError(f"num_steps={shown(num_steps)} is not for the adaptive method={method!r}")
    check_range("tolerance", tolerance, 0, open_low=True)
    if check_range("num_probes", num_probes, 1, integer=True) > 1 and divergence == "exact":
        raise ConfigError(f"num_probes={num_probes} is not for divergence='exact', which has none")
    if is_known(data_std):
        check_range("data_std", float(data_std), 0, open_low=True)
    grid = _grid(path, 64 if num_steps is None else num_steps, times, data_std, warped=not adapts)
    if twice and not adapts and is_known(grid.steps) and grid.steps < 2:
        raise ConfigError("an error needs num_steps >= 2: it is seen with half of the steps")
    first, _ = grid.at(grid.place(0))
    x = ode.as_floating(x0)
    x = x.astype(jnp.promote_types(x.dtype, first.dtype))
    draw = lambda key: jax.random.rademacher(key, (num_probes, *x.shape[1:]), x.dtype)
    probes = jax.vmap(draw, out_axes=1)(sample_keys(key, x.shape[0]))
    probe = probes[0] if num_probes == 1 else probes

    def slopes(y: Array, s: Array) -> tuple[Array, Array]:
        """dy / ds [B, ...] at s [B], and its divergence [B]."""
        t, rate = grid.at(s)
        norm, cos, sin = (expand(a, y) for a in _angle(path, t, data_std))
        mean = lambda y: check_output("denoise", denoise(norm * y, t), y.shape)
        x0, trace = measure(mean, y, probe)
        slope = expand(rate, y) * (cos * y - x0 / data_std) / sin
        flat = lambda a: a.reshape(a.shape[:1])
        return slope, rate * (flat(cos) * y[0].size - trace / data_std) / flat(sin)

    # x_t at the first time, without its noise, is alpha x0: log p(x0) gains D log alpha.
    alpha = path.alpha(first)
    norm, _, _ = _angle(path, first, data_std)
    start = (alpha / norm * x, jnp.zeros(x.shape[:1], x.dtype))

    def log_prob(coarse: bool) -> Float[Array, "B"]:
        if adapts:
            error = tolerance * (10 if coarse else 1)
            ends = grid.place(0), grid.place(grid.steps)
            limits: dict[str, Any] = {"rtol": error, "atol": error, "max_steps": max_steps}
            y, integral = _adaptive(slopes, start, *ends, method=method, **limits)
        else:
            stride = 2 if coarse else 1
            place = lambda i: grid.place(jnp.minimum(stride * i, grid.steps))
            count = -(-grid.steps // stride)
            at = lambda state, s: slopes(state[0], jnp.full(x.shape[:1], s))
            y, integral = ode.integrate_steps(at, start, place, count, method)
        log_prior = jax.scipy.stats.norm.logpdf(y).sum(tuple(range(1, y.ndim)))
        return log_prior + integral + x[0].size * jnp.log(alpha / norm)

    return log_prob


class _Grid(NamedTuple):
    """The variable of integration s: `place(i)` before step i, and `at(s)` = (t, dphi / ds)."""

    at: Callable[[Array], tuple[Array, Array]]
    place: Callable[[Any], Array]
    steps: int | Int[Array, ""]


def _grid(path: GaussianPath, num_steps: Any, times: Any, data_std: float, warped: bool) -> _Grid:
    """Steps in phi through `times`, or where they are not given `num_steps` in a warp of it.

    An adaptive method integrates over phi: near the data it may leap over much of the warp, and in
    t a path may have an infinite slope.
    """
    num_steps = ode.as_steps(num_steps)
    if times is None:
        at = rising(path, num_steps, data_std)
        if warped:
            return _Grid(at, lambda i: jnp.asarray(i, jnp.result_type(float)), num_steps)
        times = jnp.stack([at(jnp.asarray(i))[0] for i in (0, num_steps)])
    else:
        times = as_times(times, rising=True)
        if is_known(times) and is_known(noise := path.sigma(times[0])) and noise == 0:
            raise ConfigError(f"times start at {times[0]:g}, where the path has no noise")
    angles = jnp.arctan2(path.sigma(times), data_std * path.alpha(times))

    def at_angle(phi: Array) -> tuple[Array, Array]:
        ratio = jnp.cos(phi) / (data_std * jnp.sin(phi))
        known = jnp.maximum(ratio, jnp.finfo(ratio.dtype).tiny)
        t = jnp.clip(time_of_log_snr(path, 2 * jnp.log(known)), times[0], times[-1])
        return jnp.where(phi < angles[-1], t, times[-1]), jnp.ones_like(phi)

    return _Grid(at_angle, lambda i: angles[i], len(times) - 1)


def _adaptive(
    slopes: Callable, start: tuple[Array, Array], first: Array, last: Array, **options: Any
) -> Any:
    """The state at the last time, each example with steps of its own."""
    one = for_each_sample(slopes, start[0])

    def solve(y, integral):
        slope = lambda state, s: one(state[0], s)
        return adaptive.integrate(slope, (y, integral), first, last, **options)[0]

    return jax.vmap(solve)(*start)


def _angle(path: GaussianPath, t: Array, data_std: float) -> tuple[Array, Array, Array]:
    """Deviation of x_t for data of deviation `data_std`, and cos and sin of phi."""
    alpha, sigma = path.alpha(t) * data_std, path.sigma(t)
    norm = jnp.hypot(alpha, sigma)
    return norm, alpha / norm, sigma / norm
