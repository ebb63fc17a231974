"""Sets of tokens by brute force, and the loop against the plain one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.autoregressive import Decoder, Decoding, generate, keep_nucleus, keep_top_k
from gen_jax.autoregressive.decoding import checked, draw
from gen_jax.errors import ConfigError
from gen_jax.randomness import sample_keys
from gen_jax.sampling import discretized_logistic

# Powers of two: their sums are exact, so that "reaches p" has no rounding.
PROBABILITIES = [
    [0.5, 0.25, 0.125, 0.125],
    [0.125, 0.5, 0.125, 0.25],
    [0.25, 0.25, 0.25, 0.25],
    [0.125, 0.375, 0.125, 0.375],
]


def best_set(p, wanted):
    """The first set in the order of (size, most probable, lowest indices) that is `wanted`."""
    indices = range(len(p))
    sets = [s for size in indices for s in itertools.combinations(indices, size + 1)]
    rank = lambda s: (len(s), -sum(p[i] for i in s), s)
    return next(s for s in sorted(sets, key=rank) if wanted(s))


@pytest.mark.parametrize("p", PROBABILITIES)
def test_kept_sets_are_exactly_the_right_ones(p):
    """Ties go to the lower index; nothing kept is changed."""
    logits = jnp.log(jnp.array(p)) + 3.0
    for k in (1, 2, 3, 4, 9):
        kept = keep_top_k(logits, k)
        expected = best_set(p, lambda s, k=k: len(s) == min(k, 4))
        np.testing.assert_array_equal(np.flatnonzero(kept > -jnp.inf), expected)
        np.testing.assert_array_equal(kept[jnp.array(expected)], logits[jnp.array(expected)])
    for total in (0.01, 0.125, 0.25, 0.26, 0.5, 0.6, 0.75, 0.875, 0.9, 1.0):
        kept = keep_nucleus(logits, total)
        expected = best_set(p, lambda s, total=total: sum(p[i] for i in s) >= total)
        np.testing.assert_array_equal(np.flatnonzero(kept > -jnp.inf), expected)
        np.testing.assert_array_equal(kept[jnp.array(expected)], logits[jnp.array(expected)])


def test_draws_follow_the_restricted_law(key):
    """Temperature first, then the k largest, then the nucleus, renormalised."""
    logits = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3]))
    decoding = Decoding(temperature=0.5, top_k=3, top_p=0.8)
    draws = jax.vmap(lambda k: draw(k, logits, decoding))(jax.random.split(key, 20_000))
    counts = np.bincount(draws, minlength=4)
    weights = np.array([0, 16, 0, 9]) / 25  # 4^2 : 3^2, of 29 in all: 16 + 9 reach 0.8
    assert not counts[weights == 0].any()
    z = (counts[1] - 20_000 * weights[1]) / np.sqrt(20_000 * weights[1] * weights[3])
    assert abs(z) < 5
    greedy = Decoding(temperature=0.0)
    assert int(draw(key, logits, greedy)) == 1


def counter(num, block=None):
    """A decoder whose numbers are a function of the place, the sum of all values, the row's sum."""

    def step(cache, index, previous):
        total, row = cache[0] + previous[:, 0], cache[1]
        return jnp.stack([total, row, jnp.full_like(total, index)], -1), (total, row)

    prepare = lambda cache, index, previous: (cache[0], cache[0] + previous[:, 0])
    start = lambda batch: (jnp.zeros(batch), jnp.zeros(batch))
    return Decoder(start, step, prepare if block else None, block)


def sample(key, raw, decoding):
    noise = jnp.floor(4 * jax.random.uniform(key))
    return (decoding.temperature * noise + raw[0] - 2 * raw[1] + raw[2])[None]


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("length", [0, 3])
def test_the_loop_is_the_plain_one(key, block, length):
    keys = sample_keys(key, 3)
    prompt = jnp.arange(3.0)[:, None, None] + jnp.arange(length)[:, None] if length else None
    run = jax.jit(
        lambda keys: generate(keys, counter(6, block), sample, 6, 1, Decoding(2.0), prompt)
    )
    got = run(keys)[..., 0]
    for b in range(3):
        values, row = [], 0.0
        for i in range(6):
            row = sum(values) if block and i % block == 0 else row
            raw = jnp.array([sum(values), row, i])
            drawn = sample(jax.random.fold_in(keys[b], i), raw, Decoding(2.0))
            values.append(float(prompt[b, i, 0]) if i < length else float(drawn[0]))
        np.testing.assert_array_equal(got[b], values)
    np.testing.assert_array_equal(run(keys[::-1])[..., 0][::-1] if not length else got, got)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        checked(Decoding(**options))


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-39, 1e-37, 1e-20, 1e-6])
def test_the_lowest_temperatures_take_the_largest(key, temperature):
    """1 / temperature is infinite in float32 below 3e-39, and the quotients are long before."""
    logits = jnp.array([0.5, -3.0, 90.0, 89.0])
    drawn = jax.vmap(lambda k: draw(k, logits, Decoding(temperature)))(jax.random.split(key, 9))
    np.testing.assert_array_equal(drawn, 2)
    levels = discretized_logistic.sample(
        key, logits, jnp.arange(4) / 8, jnp.full(4, -3.0), 256, temperature
    )
    assert levels == discretized_logistic.quantize(jnp.array(2 / 8))


def test_logits_of_half_precision(key):
    """300 equal tokens: sums of their probabilities stood still at 1 / 2 in bfloat16, where p kept
    all, and its noise has few values: the first of many equal ones won too often.
    """
    logits = jnp.zeros(300, jnp.bfloat16)
    keys = jax.random.split(key, 6000)
    half = jax.vmap(lambda k: draw(k, logits, Decoding(top_p=0.9)))(keys)
    assert int(half.max()) == 269
    drawn = np.asarray(jax.vmap(lambda k: draw(k, logits, Decoding()))(keys))
    counts = np.bincount(drawn, minlength=300)
    # Chi-square of 299 degrees: above 450 with probability below 1e-7.
    assert ((counts - 20) ** 2 / 20).sum() < 450
