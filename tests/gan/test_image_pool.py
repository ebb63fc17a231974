"""The image pool: its exact law by going through every choice, and its steady state."""

from collections import Counter
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax.errors import ConfigError
from gen_jax.gan.image_pool import empty_pool, exchange

NUM = 40_000


def returned(size, images, calls=1):
    """What pools return for the images 0, 1, .., over NUM keys: [NUM, images]."""

    def run(key):
        pool, parts = empty_pool(size, ()), []
        for i, x in enumerate(jnp.split(jnp.arange(images, dtype=jnp.float32), calls)):
            pool, out = exchange(jax.random.fold_in(key, i), pool, x)
            parts.append(out)
        return jnp.concatenate(parts)

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), NUM)), int)


def law(size, images):
    """P(sequence returned), by going through all choices of the rule as it is written."""
    states = {((), ()): Fraction(1)}
    for image in range(images):
        following = Counter()
        for (pool, out), p in states.items():
            if len(pool) < size:
                following[(*pool, image), (*out, image)] += p
                continue
            following[pool, (*out, image)] += p / 2
            for slot in range(size):
                swapped = (*pool[:slot], image, *pool[slot + 1 :])
                following[swapped, (*out, pool[slot])] += p / (2 * size)
        states = following
    total = Counter()
    for (_, out), p in states.items():
        total[out] += p
    return total


def p_value(sequences, expected):
    """Of the chi-square statistic; sequences that cannot be give 0."""
    found = Counter(map(tuple, sequences.tolist()))
    if set(found) - set(expected):
        return 0.0
    counts = np.array([found[s] for s in expected])
    means = len(sequences) * np.array([float(p) for p in expected.values()])
    return stats.chi2.sf(((counts - means) ** 2 / means).sum(), len(expected) - 1)


def test_the_law_is_that_of_every_choice():
    """False alarms: 1e-6. The twin, whose pool is one larger, is found with certainty."""
    found, expected = returned(2, 6), law(2, 6)
    assert sum(expected.values()) == 1
    assert p_value(found, expected) > 1e-6
    assert p_value(returned(3, 6), expected) == 0
    biased = found[~((found[:, 4] == 4) & (np.arange(NUM) % 10 == 0))]  # planted: 5 % fewer fresh
    assert p_value(biased, expected) < 1e-6


def test_one_call_or_many_have_one_law():
    assert p_value(returned(2, 6, calls=3), law(2, 6)) > 1e-6


def test_full_pools_return_ages_with_a_geometric_tail():
    """Half are fresh; an old one of age k has probability (1 - 1/2P)^(k-1) / 2P (steady state)."""
    size = 3
    age = 40 - returned(size, 41)[:, -1]
    rate = 1 / (2 * size)
    p = np.array([0.5, *(0.5 * rate * (1 - rate) ** np.arange(9))])
    counts = np.bincount(age, minlength=41)
    counts = np.array([*counts[:10], counts[10:].sum()])
    means = NUM * np.array([*p, 1 - p.sum()])
    assert stats.chi2.sf(((counts - means) ** 2 / means).sum(), 10) > 1e-6


def test_no_pool_returns_what_comes_and_negative_sizes_are_refused():
    x = jnp.arange(6.0).reshape(3, 2)
    pool, out = exchange(jax.random.key(0), empty_pool(0, (2,)), x)
    np.testing.assert_array_equal(out, x)
    assert pool.images.shape == (0, 2)
    with pytest.raises(ConfigError, match="pool_size"):
        empty_pool(-1, ())


def test_images_are_swapped_whole():
    """Nothing is lost: what was put in is in the pool or has come out."""
    x = jnp.arange(20.0)[:, None] * jnp.ones((1, 2))
    pool, out = jax.jit(exchange)(jax.random.key(1), empty_pool(4, (2,)), x)
    assert pool.filled == 4
    both = np.concatenate([out[4:], pool.images])
    np.testing.assert_array_equal(np.sort(both[:, 0]), np.arange(20.0))
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
