"""One loop for every sampler: a stepper owns one transition t -> s, `sample` owns the scan.

Times, coefficients, the arithmetic of a step and the state between steps are float32 (float64 under
x64) or wider: roundings of a narrow state would add up over the steps. The network's input and what
`sample` returns have the dtype of the x that it starts from.

A transition that ends at s = 0 ends at the data itself (alpha = 1, sigma = 0), also on paths whose
sigma(0) is not zero. There most steppers return the denoised point E[x0 | x_t]: the last step of
DDIM. A Runge-Kutta method in t and Adams-Bashforth carry their polynomial through to the data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.calls import counted, network_call, uncounted
from gen_jax.checks import as_times, check_output, is_known, same_shape
from gen_jax.errors import ConfigError, shown
from gen_jax.parameterisations import Coefficients
from gen_jax.paths import GaussianPath, as_path, coefficients
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.solvers.ode import as_floating
from gen_jax.types import Array, Bool, Denoiser, Float, Int, Key, State


class Transition(NamedTuple):
    """From time t to the cleaner time s < t; fields are [], or [n] of all transitions.

    Fields:
      t, s: times of the start and of the end.
      now, next: the path's coefficients at t and at s.
      index: of the transition, 0 at the noise.
      count: of all transitions.
      last: whether s is the end of the grid.
      data_std: standard deviation of the data, in the path's units.
    """

    t: Float[Array, "*n"]
    s: Float[Array, "*n"]
    now: Coefficients
    next: Coefficients
    index: Int[Array, "*n"]  # type: ignore[assignment]
    count: Int[Array, "*n"]  # type: ignore[assignment]
    last: Bool[Array, "*n"]
    data_std: Float[Array, "*n"]


class Stepper(NamedTuple):
    """A sampler's step and what it carries from one transition to the next.

    Fields:
      step: `(keys [B], denoise, path, x [B, ...], carry, transition) -> (x, carry)`.
      init: `x -> carry`.
      grid: name in `GRIDS` of the time grid it is meant for.
      stochastic: whether it needs the score of the path's marginals (and not the velocity alone).
      calls_denoiser: whether it calls the denoiser that it is given, and guidance acts on it.
    """

    step: Callable
    init: Callable[[Array], State] = lambda x: ()
    grid: str = "uniform"
    stochastic: bool = False
    calls_denoiser: bool = True


def check_stepper(stepper: Any) -> Stepper:
    """Return a stepper; raises ConfigError for anything else, such as a name in STEPPERS."""
    if not isinstance(stepper, Stepper):
        raise ConfigError(f"stepper={shown(stepper)} must be a Stepper such as diffusion.ddim()")
    return stepper


class SampleInfo(NamedTuple):
    """What sampling cost: batched network calls; and the states after each transition.

    Calls are those of the network, whatever wraps it (guidance calls two networks); a classifier's
    are not among them. See `gen_jax.calls`.
    """

    calls: Int[Array, ""]
    trajectory: Float[Array, "n B ..."] | None


def call(denoise: Denoiser, x: Float[Array, "B ..."], t: Float[Array, ""]) -> Array:
    """Call a denoiser at one time for the whole batch."""
    return denoise(x, jnp.full(x.shape[:1], t))


def transitions(
    path: GaussianPath, times: Float[Array, " times"], data_std: float = 1.0
) -> Transition:
    """The n transitions of a falling time grid, stacked along the first axis."""
    n = times.shape[0] - 1
    t, s = times[:-1], times[1:]
    last = s == 0
    alpha, sigma, d_alpha, d_sigma = coefficients(path, s)
    arrival = Coefficients(
        jnp.where(last, 1.0, alpha), jnp.where(last, 0.0, sigma), d_alpha, d_sigma
    )
    index = jnp.arange(n)
    count, std = jnp.full_like(index, n), jnp.full_like(t, data_std)
    return Transition(t, s, coefficients(path, t), arrival, index, count, last, std)


def _forms(tree: State) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    dtype = lambda leaf: getattr(leaf, "dtype", None) or jnp.result_type(leaf)
    return structure, [(jnp.shape(leaf), dtype(leaf)) for leaf in leaves]


def _step(stepper: Stepper, *arguments: Any) -> tuple[Array, State]:
    """A stepper's step; raises ConfigError unless it returns a pair (x, carry) of their forms."""
    out, x, inner = stepper.step(*arguments), *arguments[3:5]
    if not isinstance(out, tuple | list) or len(out) != 2:
        count = f"{len(out)} values" if isinstance(out, tuple | list) else f"a {type(out).__name__}"
        raise ConfigError(f"the stepper's step returned {count}, allowed: a pair (x, carry)")
    check_output("the stepper's step", out[0], x.shape, "x of shape ")
    for name, new, old in (("x", out[0], x), ("carry", out[1], inner)):
        if _forms(new) != _forms(old):
            raise ConfigError(
                f"the stepper's step returned {name} of another structure, shape or dtype than it "
                "was given (allowed: the same)"
            )
    return tuple(out)


def sample(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x: Float[Array, "B ..."],
    times: Float[Array, " times"],
    stepper: Stepper,
    *,
    data_std: float = 1.0,
) -> Float[Array, "B ..."]:
    """Carry x from noise at times[0] to data at times[-1], one `lax.scan` for any stepper.

    Args:
      key: one key, or one per sample [B]; each sample has its own noise, whatever the batch.
      denoise: `(x [B, ...], t [B]) -> E[x0 | x_t]`; a plain function counts as one network call.
      x: the point to start from, distributed as x_t at times[0]; see `prior`.
      times: [n + 1], falling; a last time of 0 means the data itself. `edm_heun`, `dpm_solver_pp`
        and `unipc` end at the denoised point and need times that crowd near 0: uniform ones leave
        the variance inside modes of deviation 0.1 too small by 73, 51 and 49 % (vp, 40 calls).
      data_std: of the data, the unit of the stepper `adams`.
    Raises ConfigError for times that do not fall from at most 1 to at least 0, and for a stepper
    whose step does not return a pair (x, carry) like those that it was given.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import diffusion, paths
    >>> path = paths.linear()
    >>> point = lambda x, t: jnp.full_like(x, 3.0)  # the denoiser of data that are 3 everywhere
    >>> noise = jax.random.normal(jax.random.key(0), (4, 2))
    >>> times = jnp.linspace(1.0, 0.0, 3)
    >>> step = diffusion.STEPPERS["ddim"]()
    >>> diffusion.sample(jax.random.key(1), point, path, noise, times, step).shape
    (4, 2)
    """
    return _scan(key, denoise, path, x, times, stepper, data_std, False, False)[0]


def sample_with_info(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x: Float[Array, "B ..."],
    times: Float[Array, " times"],
    stepper: Stepper,
    *,
    data_std: float = 1.0,
    trajectory: bool = False,
) -> tuple[Float[Array, "B ..."], SampleInfo]:
    """`sample`, and the exact number of network calls.

    Args:
      trajectory: keep every state, [n, B, ...], in the info.
    """
    return _scan(key, denoise, path, x, times, stepper, data_std, True, trajectory)


def _check_ends(path: GaussianPath, times: Float[Array, " times"]) -> None:
    """Raise ConfigError for a path on which the first time has less noise than the last."""
    if not is_known(times):
        return
    with jax.ensure_compile_time_eval():
        t = times[jnp.array([0, -1])]
        alpha, sigma = path.alpha(t), path.sigma(t)
        if not (is_known(alpha) and is_known(sigma)):
            return
        first, last = np.arctan2(alpha, sigma)
    if first > last:
        raise ConfigError(
            f"path: alpha / sigma must fall from data to noise; it is {alpha[1]:g} / {sigma[1]:g} "
            f"at t = {t[1]:g} and {alpha[0]:g} / {sigma[0]:g} at t = {t[0]:g}"
        )


def _scan(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x: Float[Array, "B ..."],
    times: Float[Array, " times"],
    stepper: Stepper,
    data_std: float,
    counting: bool,
    trajectory: bool,
) -> tuple[Float[Array, "B ..."], SampleInfo]:
    """The loop; the calls are 0 unless they are counted."""
    times, x, path = as_times(times), as_floating(x), as_path(path)
    check_stepper(stepper)
    _check_ends(path, times)
    dtype, wide = x.dtype, jnp.promote_types(x.dtype, times.dtype)
    network = same_shape("denoise", network_call(denoise) if counting else denoise)
    at_width = lambda x, t: network(x.astype(dtype), t).astype(wide)
    keys = sample_keys(key, x.shape[0])

    def body(carry, transition):
        x, inner, calls = carry
        step_keys = fold_in(keys, transition.index)
        step = lambda x, inner: _step(stepper, step_keys, at_width, path, x, inner, transition)
        (x, inner), more = (counted(step) if counting else uncounted(step))(x, inner)
        return (x, inner, calls + more), x.astype(dtype) if trajectory else None

    x = x.astype(wide)
    start = (x, stepper.init(x), jnp.int32(0))
    (x, _, calls), states = jax.lax.scan(body, start, transitions(path, times, data_std))
    x = x.astype(dtype)
    return x, SampleInfo(calls, states)


def prior(
    key: Key[Array, "*batch"],
    path: GaussianPath,
    shape: tuple[int, ...],
    *,
    t: float | Array = 1.0,
    data_std: float = 1.0,
    dtype=float,
) -> Float[Array, "B ..."]:
    """Noise to start from, N(0, sigma(t)^2 + alpha(t)^2 data_std^2); shape [B, ...].

    Float32, or float64 under x64, unless another dtype is given.
    """
    t = jnp.asarray(t, float)
    std = jnp.sqrt(path.sigma(t) ** 2 + (path.alpha(t) * data_std) ** 2)
    return (std * normal(sample_keys(key, shape[0]), shape[1:], dtype)).astype(dtype)
