"""One loop for every kernel."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_range
from gen_jax.mcmc.checks import check_start
from gen_jax.mcmc.kernel import Info, Kernel
from gen_jax.mcmc.positions import start_points
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Float, Int, Key, State


class RunInfo(NamedTuple):
    """What a run learnt.

    Fields:
      acceptance, accepted: means over the steps after burn-in [B].
      invalid: steps that met a density of NaN or +inf [B], burn-in included.
      swap_acceptance: means over the steps after burn-in [B, K - 1], for parallel tempering.
      state: of the chains at the end, to go on from with `collect`.
    """

    acceptance: Float[Array, "B"]
    accepted: Float[Array, "B"]
    invalid: Int[Array, "B"]
    swap_acceptance: Float[Array, "B K"] | None
    state: State


def advance(
    key: Key[Array, "*batch"],
    kernel: Kernel,
    state: State,
    num_steps: int | Int[Array, ""],
    first: int | Int[Array, ""] = 0,
) -> tuple[State, Info]:
    """The state after `num_steps` steps, and the sums of their `Info`; jit-able.

    Args:
      key: one key, or one per chain [B]; step i uses it with `first` + i folded in.
    """
    keys = sample_keys(key, len(state.log_density))
    body = lambda i, carry: _add_step(keys, kernel, carry, first + i)
    return jax.lax.fori_loop(0, num_steps, body, (state, _no_steps(keys, kernel, state)))


def _as_sums(info: Info) -> Info:
    """The figures of one step as they are added up."""
    accepted = info.accepted.astype(info.acceptance.dtype)
    return info._replace(accepted=accepted, invalid=info.invalid.astype(jnp.int32))


def _no_steps(keys: Array, kernel: Kernel, state: State) -> Info:
    """Sums of no steps."""
    shapes = jax.eval_shape(lambda state: _as_sums(kernel.step(keys, state)[1]), state)
    return jax.tree.map(lambda part: jnp.zeros(part.shape, part.dtype), shapes)


def _add_step(keys: Array, kernel: Kernel, carry: tuple, index: Array) -> tuple[State, Info]:
    state, sums = carry
    state, info = kernel.step(fold_in(keys, index), state)
    return state, jax.tree.map(jnp.add, sums, _as_sums(info))


def run(
    key: Key[Array, "*batch"],
    kernel: Kernel,
    x: Any,
    num_samples: int,
    *,
    burn_in: int = 0,
    thin: int = 1,
) -> tuple[Any, RunInfo]:
    """Samples [num_samples, B, ...] of B chains that start at x [B, ...], compiled.

    Only what is kept takes memory. Compiled at each call, for the log-density may read values that
    have changed since; `jax.jit` of a function that calls `run` holds the program.

    Args:
      key: one key, or one per chain [B].
      x: where the chains start, an array or a pytree of them, each [B, ...].
      burn_in: first steps, not kept.
      thin: keep every so many-th step after them.
    Raises ConfigError for numbers out of range, a log-density that does not return [B], or chains
    that start where the density is 0, NaN or infinite.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import mcmc
    >>> log_density = lambda x: -0.5 * jnp.sum((x - 1) ** 2, axis=-1)
    >>> kernel = mcmc.mala(log_density, 0.5)
    >>> samples, info = mcmc.run(jax.random.key(0), kernel, jnp.zeros((64, 2)), 50, burn_in=20)
    >>> samples.shape, bool(abs(samples.mean() - 1) < 0.1)
    ((50, 64, 2), True)
    """
    check_range("num_samples", num_samples, 1, integer=True)
    check_range("burn_in", burn_in, 0, integer=True)
    check_range("thin", thin, 1, integer=True)
    # A function of its own: jax would find the program of the same one again.
    state = jax.jit(lambda x: kernel.init(x))(start_points(x))
    check_start(state)
    return collect(key, kernel, state, num_samples, burn_in, thin)


def collect(
    key: Key[Array, "*batch"],
    kernel: Kernel,
    state: State,
    num_samples: int,
    burn_in: int | Int[Array, ""] = 0,
    thin: int = 1,
) -> tuple[Any, RunInfo]:
    """`run` from a state of the kernel, such as the one another run ended with."""
    program = lambda key, state, burn_in: _collect(key, kernel, state, num_samples, burn_in, thin)
    return jax.jit(program)(key, state, burn_in)


def _collect(
    key: Key[Array, "*batch"],
    kernel: Kernel,
    state: State,
    num_samples: int,
    burn_in: Int[Array, ""],
    thin: int,
) -> tuple[Any, RunInfo]:
    keys = sample_keys(key, len(state.log_density))
    state, burnt = advance(keys, kernel, state, burn_in)

    def body(carry, first):
        step = lambda i, carry: _add_step(keys, kernel, carry, first + i)
        # A loop of one step would cost as much as a cheap step.
        carry = step(0, carry) if thin == 1 else jax.lax.fori_loop(0, thin, step, carry)
        return carry, carry[0].x

    starts = burn_in + thin * jnp.arange(num_samples)
    zeros = jax.tree.map(jnp.zeros_like, burnt)
    (state, sums), samples = jax.lax.scan(body, (state, zeros), starts)
    means = jax.tree.map(lambda total: total / (num_samples * thin), sums)
    info = RunInfo(
        means.acceptance,
        means.accepted,
        burnt.invalid + sums.invalid,
        means.swap_acceptance,
        state,
    )
    return samples, info
