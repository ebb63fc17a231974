"""The generators: integers against Python's, periods by visiting, uniformity of the output."""

import math

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import ndtri

from gen_jax.errors import ConfigError
from gen_jax.sampling import GENERATORS, lcg
from gen_jax.sampling.lcg import LCG

FALSE_ALARM = 5e-7
GOOD = [name for name in GENERATORS if name != "randu"]


def in_python(generator, seed, n):
    a, c, m = generator
    states = []
    for _ in range(n):
        seed = (a * seed + c) % m
        states.append(seed)
    return np.array(states)


@pytest.mark.parametrize(
    "generator",
    [*GENERATORS.values(), LCG(4294967290, 4294967289, 4294967291), LCG(3, 1, 5), LCG(1, 0, 2)],
)
def test_states_are_the_integers_of_python(generator):
    seed = generator.modulus - 1
    expected = in_python(generator, seed, 3000)
    np.testing.assert_array_equal(lcg.states(generator, seed, 3000), expected)
    one = lcg.step(generator, jnp.asarray(expected[:5].astype(np.uint32)))
    np.testing.assert_array_equal(one, expected[1:6])


def test_the_ten_thousandth_number_that_park_and_miller_print():
    assert int(lcg.states(GENERATORS["minstd_1988"], 1, 10_000)[-1]) == 1043618065


def test_a_stream_goes_on_from_its_last_state():
    whole = lcg.states(GENERATORS["ansi_c"], 7, 2500)
    rest = lcg.states(GENERATORS["ansi_c"], whole[999], 1500)
    np.testing.assert_array_equal(rest, whole[1000:])


def test_hull_and_dobell_by_visiting_every_state():
    """All 7,000 generators with m <= 28: full period if and only if the theorem says so."""
    for m in range(2, 29):
        for a in range(1, m):
            for c in range(m):
                generator = LCG(a, c, m)
                assert lcg.has_full_period(generator) == (lcg.period(generator, 0) == m), generator


def test_periods_of_the_documented_constants():
    assert lcg.has_full_period(GENERATORS["numerical_recipes"])
    assert lcg.has_full_period(GENERATORS["ansi_c"])
    # Without increment, m prime: the period is m - 1 where a is a primitive root.
    m = 2**31 - 1
    for name in ("minstd", "minstd_1988"):
        a = GENERATORS[name].multiplier
        assert all(pow(a, (m - 1) // p, m) != 1 for p in lcg._prime_factors(m - 1))
    assert lcg.period(LCG(3, 0, 31), 1) == 30  # 3 is a primitive root of 31
    assert lcg.period(LCG(2, 0, 31), 1) == 5  # 2^5 = 32


def test_low_bits_of_a_power_of_two_repeat_at_once():
    low = np.asarray(lcg.states(GENERATORS["numerical_recipes"], 1, 64)) & 7
    np.testing.assert_array_equal(low[8:], low[:-8])


def test_randu_lies_on_planes_and_minstd_does_not():
    """x_(k+2) - 6 x_(k+1) + 9 x_k is a whole number for RANDU (marsaglia1968)."""

    def off_planes(name):
        x = in_python(GENERATORS[name], 1, 3000) / GENERATORS[name].modulus
        plane = x[2:] - 6 * x[1:-1] + 9 * x[:-2]
        return np.abs(plane - np.round(plane)).mean()

    assert off_planes("randu") < 1e-9
    assert off_planes("minstd") == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", GOOD)
def test_uniforms_are_uniform(name):
    u = np.asarray(lcg.uniform(GENERATORS[name], 12345, (60_000,)), np.float64)
    z = ndtri(u)
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert scipy.stats.kstest(u, "uniform").pvalue > FALSE_ALARM
    # Products of neighbours have mean 0 and, for independent normals, variance 1.
    assert abs(np.sum(z[:-1] * z[1:])) / math.sqrt(len(z)) < 5.1
    planted = np.clip(u * 1.02, 0, 1 - 1e-9)
    assert scipy.stats.kstest(planted, "uniform").pvalue < FALSE_ALARM
    assert exact.standard_normal_p_value(z * 1.05**0.5) < FALSE_ALARM


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_uniforms_stay_inside_the_open_interval(x64, dtype):
    """The two ends are met on purpose: states 0 and m - 1, reached from their predecessors."""
    for generator in (GENERATORS["numerical_recipes"], LCG(1, 1, 2**32), LCG(1, 1, 2**31 - 1)):
        a, c, m = generator
        seeds = [(pow(a, -1, m) * (x - c)) % m for x in (0, m - 1)]
        u = jnp.stack([lcg.uniform(generator, seed, (1,), dtype)[0] for seed in seeds])
        assert u.dtype == dtype
        assert 0 < u[0] < 1e-9
        assert 1 - 1e-6 < u[1] < 1


def test_jit_with_a_traced_seed_and_shapes(count_traces):
    generator = GENERATORS["minstd"]
    draw = count_traces(lambda seed: lcg.uniform(generator, seed, (3, 5, 7)))
    compiled = jax.jit(draw)
    for seed in (1, 2, 2**31 - 2):
        expected = in_python(generator, seed, 105).reshape(3, 5, 7) / generator.modulus
        np.testing.assert_allclose(compiled(jnp.uint32(seed)), expected, atol=1e-7)
    assert draw.calls == 1


@pytest.mark.parametrize(
    ("generator", "seed", "n", "message"),
    [
        (GENERATORS["minstd"], 0, 5, "seed=0 must be"),
        (GENERATORS["minstd"], 2**31 - 1, 5, "seed=2147483647"),
        (GENERATORS["ansi_c"], -1, 5, "seed=-1"),
        (GENERATORS["ansi_c"], 1, 0, "n=0"),
        (LCG(5, 1, 2**33), 1, 5, "modulus=8589934592"),
        (LCG(0, 1, 8), 1, 5, "multiplier=0"),
        (LCG(5, 9, 8), 1, 5, "increment=9"),
    ],
)
def test_bad_arguments_are_refused(generator, seed, n, message):
    with pytest.raises(ConfigError, match=message):
        lcg.states(generator, seed, n)


def test_periods_too_long_to_visit_are_refused():
    with pytest.raises(ConfigError, match="too large to visit"):
        lcg.period(GENERATORS["ansi_c"])
