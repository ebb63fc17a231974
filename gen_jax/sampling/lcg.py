"""Linear congruential generators: X' = (a X + c) mod m in exact integers, U = (X + 1/2) / m.

The oldest source of uniform numbers (lehmer1951; S2, "Linear congruential generator"): the rest of
this package takes uniforms as arguments, so a stream from here can stand where
`jax.random.uniform` does. For teaching and tests: successive numbers lie on few planes
(marsaglia1968), and where m is a power of two the lowest bits repeat after 2, 4, 8, ... steps.

All arithmetic is exact in 32 bits, without float64 or int64: m may be up to 2^32.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.checks import host_array
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int, Num, UInt

_LANES = 1024


class LCG(NamedTuple):
    """Multiplier a in [1, m), increment c in [0, m) and modulus m in [2, 2^32]."""

    multiplier: int
    increment: int
    modulus: int


GENERATORS: dict[str, LCG] = {
    "numerical_recipes": LCG(1664525, 1013904223, 2**32),  # press1992, "quick and dirty"
    "ansi_c": LCG(1103515245, 12345, 2**31),  # the example of the C standard
    "minstd": LCG(48271, 0, 2**31 - 1),  # park1993: no increment, so never state 0
    "minstd_1988": LCG(16807, 0, 2**31 - 1),  # park1988
    "randu": LCG(65539, 0, 2**31),  # IBM's, 1968: all triples on 15 planes; a warning
}
"""Documented constants by name."""


def _check(generator: LCG) -> LCG:
    if not isinstance(generator, LCG):
        raise ConfigError(f"generator={generator!r} must be an LCG, such as those of GENERATORS")
    check_range("modulus", generator.modulus, 2, 2**32, integer=True)
    check_range("multiplier", generator.multiplier, 1, generator.modulus - 1, integer=True)
    check_range("increment", generator.increment, 0, generator.modulus - 1, integer=True)
    return generator


def _word(value) -> Array:
    """As uint32 of any shape; Python integers up to 2^32 - 1 do not pass through int32."""
    return value if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value, np.uint32))


def _add(x: Array, y: Array, modulus: int) -> Array:
    """(x + y) mod m for x, y < m, without leaving 32 bits."""
    if modulus == 2**32:
        return x + y
    room = np.uint32(modulus) - y
    return jnp.where(x >= room, x - room, x + y)


def _multiply(a: Array, x: Array, modulus: int) -> Array:
    """(a x) mod m: by wrapping where m is a power of two, else by doubling and adding."""
    if modulus & (modulus - 1) == 0:
        return (a * x) & np.uint32(modulus - 1)
    bits = modulus.bit_length()

    def double_and_add(i, total):
        bit = (a >> (bits - 1 - i).astype(jnp.uint32)) & 1
        return _add(_add(total, total, modulus), jnp.where(bit == 1, x, 0), modulus)

    return jax.lax.fori_loop(0, bits, double_and_add, jnp.zeros_like(a * x))


def _affine(a, c, x, modulus: int) -> Array:
    return _add(_multiply(_word(a), x, modulus), _word(c), modulus)


def step(generator: LCG, state: Int[Array, "..."] | UInt[Array, "..."] | int) -> UInt[Array, "..."]:
    """(a X + c) mod m, exactly, for states X < m of any shape."""
    a, c, modulus = _check(generator)
    return _affine(a, c, _word(state).astype(jnp.uint32), modulus)


@lru_cache(maxsize=32)
def _jumps(generator: LCG, count: int) -> np.ndarray:
    """Row k - 1: the pair (A, C) with X_k = A X_0 + C mod m, for k = 1 .. count."""
    a, c, m = generator
    rows, pair = [], (1, 0)
    for _ in range(count):
        pair = (a * pair[0] % m, (a * pair[1] + c) % m)
        rows.append(pair)
    return np.array(rows, np.uint32)


def _check_seed(generator: LCG, seed) -> Array:
    if not isinstance(seed, jax.core.Tracer):
        seed = host_array("seed", seed)
        if np.ndim(seed):
            raise ConfigError(f"seed has shape {np.shape(seed)}, must be one integer")
        seed = np.asarray(seed).item()
        lowest = 1 if generator.increment == 0 else 0  # 0 would stay 0
        check_range("seed", seed, lowest, generator.modulus - 1, integer=True)
    return _word(seed)


def states(generator: LCG, seed: int | np.integer | Num[Array, ""], n: int) -> UInt[Array, "n"]:
    """X_1 .. X_n from X_0 = seed; the last of them is the seed that continues the sequence.

    1024 consecutive states advance together by the jump X_(k + 1024) = A X_k + C. Raises
    ConfigError for constants out of range, n < 1, and a seed (unless it is traced) outside [0, m),
    or 0 where c = 0.
    """
    n = int(check_range("n", n, 1, integer=True))
    modulus = _check(generator).modulus
    seed = _check_seed(generator, seed).astype(jnp.uint32)
    lanes = min(n, _LANES)
    jumps = _jumps(generator, lanes)
    first = _affine(jumps[:, 0], jumps[:, 1], seed, modulus)
    last_a, last_c = jumps[-1]
    advance = lambda x, _: (_affine(last_a, last_c, x, modulus), x)
    _, rows = jax.lax.scan(advance, first, length=-(-n // lanes))
    return rows.reshape(-1)[:n]


def uniform(
    generator: LCG,
    seed: int | np.integer | Num[Array, ""],
    shape: int | Sequence[int],
    dtype: Any = jnp.float32,
) -> Float[Array, "..."]:
    """Numbers of the open interval (0, 1), in order along the flattened shape (an integer or more).

    (X + 1/2) / m where the deck has X / m, which can be 0; rounding to 1 is undone.
    Raises as `states`, and ConfigError for sides below 1 and a dtype of integers.
    """
    sides = tuple(np.atleast_1d(np.asarray(shape, object))) if np.size(shape) else ()
    for side in sides:
        check_range("shape", side, 1, integer=True)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ConfigError(f"dtype={jnp.dtype(dtype).name} must be a floating-point one")
    x = states(generator, seed, math.prod(sides)).reshape(sides).astype(dtype)
    limits = jnp.finfo(dtype)
    return jnp.clip((x + 0.5) / float(generator.modulus), limits.tiny, 1 - limits.epsneg)


def has_full_period(generator: LCG) -> bool:
    """Whether every state is visited (hull1962): c prime to m, and a = 1 modulo 4 and primes of m.

    The modulus 4 counts only where it divides m.
    """
    a, c, m = _check(generator)
    divisible = all((a - 1) % p == 0 for p in _prime_factors(m))
    divisible &= m % 4 != 0 or (a - 1) % 4 == 0
    return math.gcd(c, m) == 1 and divisible


def _prime_factors(m: int) -> set[int]:
    factors, p = set(), 2
    while p * p <= m:
        while m % p == 0:
            factors.add(p)
            m //= p
        p += 1
    return factors | ({m} if m > 1 else set())


def period(generator: LCG, seed: int = 1) -> int:
    """Length of the cycle that the sequence from `seed` ends in, by visiting it: for m <= 2^20."""
    a, c, m = _check(generator)
    if m > 2**20:
        raise ConfigError(f"modulus={m} is too large to visit, allowed: at most 2^20")
    visited: dict[int, int] = {}
    x = check_range("seed", seed, 0, m - 1, integer=True)
    for index in range(m + 1):
        if x in visited:
            return index - visited[x]
        visited[x] = index
        x = (a * x + c) % m
    raise AssertionError("a sequence in m states repeats within m + 1 steps")
