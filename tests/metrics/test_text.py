"""Models of n-grams against dictionaries and closed forms; entropy and distinct n-grams."""

import itertools
import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.metrics import distinct_ngrams, ngram_log_prob, token_entropy

RNG = np.random.default_rng(0)
SIZE = 4
TRAINING = RNG.choice(SIZE - 1, size=(3, 11), p=[0.6, 0.3, 0.1])
"""The last token of the vocabulary never comes."""
QUERIES = RNG.integers(0, SIZE, size=(40, 9))


def followers(context):
    """What follows a context in the training rows, counted by comparing every place."""
    n = len(context)
    rows = TRAINING.tolist()
    return Counter(
        row[i + n] for row in rows for i in range(len(row) - n) if row[i : i + n] == context
    )


def probability(token, context):
    """p(token | context) by the recursion of the paper, one context at a time."""
    shorter = probability(token, context[1:]) if context else 1 / SIZE
    after = followers(context)
    total = sum(after.values())
    return (after[token] + len(after) * shorter) / (total + len(after)) if total else shorter


@pytest.mark.parametrize("order", [1, 2, 3, 5, 20])
def test_ngrams_are_those_of_dictionaries(order):
    found = ngram_log_prob(TRAINING, QUERIES, SIZE, order)
    truth = [
        [math.log(probability(row[i], row[max(0, i - order + 1) : i])) for i in range(len(row))]
        for row in QUERIES.tolist()
    ]
    np.testing.assert_allclose(found, truth, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_law_of_every_token_sums_to_one(length):
    """After all contexts of each length, seen and never seen."""
    texts = np.array([*itertools.product(range(SIZE), repeat=length)])
    last = np.exp(ngram_log_prob(TRAINING, texts, SIZE)[:, -1])
    np.testing.assert_allclose(last.reshape(-1, SIZE).sum(1), 1, rtol=1e-12)
    assert last.min() > 0
    seen = {bool(followers(list(text[:-1]))) for text in texts.tolist()}
    assert seen == ({True} if length == 1 else {True, False})


@pytest.mark.parametrize("order", [1, 2, 3])
def test_uniform_text_costs_log_of_the_vocabulary(order):
    """Every text of `order` tokens once: all n-grams are equally frequent."""
    training = np.array([*itertools.product(range(SIZE), repeat=order)])
    found = ngram_log_prob(training, QUERIES, SIZE, order)
    np.testing.assert_allclose(found, -math.log(SIZE), rtol=1e-12)


def test_a_large_vocabulary_has_no_overflow():
    """Tokens far apart are tokens renamed, up to the uniform law below all n-grams."""
    spread = np.array([0, 7, 40_000, 49_999])
    found = ngram_log_prob(spread[TRAINING], spread[QUERIES], 50_000, 5)
    assert np.isfinite(found).all()
    once = TRAINING.shape[1] * len(TRAINING)
    never = -math.log((once + 3) * 50_000 / 3)
    np.testing.assert_allclose(found[QUERIES == SIZE - 1].max(), never, rtol=1e-12)


def test_entropy_of_constant_different_and_mixed_texts():
    length = 8
    texts = [[5] * length, range(length), [1, 1, 1, 1, 3, 3, 0, 2]]
    entropy = token_entropy(np.array([[*text] for text in texts]))
    np.testing.assert_allclose(entropy, [0, math.log2(length), 1.75], rtol=1e-12)
    assert not np.signbit(entropy).any()


@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_distinct_ngrams_are_those_of_a_set(order):
    rows = QUERIES[:, :6].tolist()
    ngrams = [tuple(row[i : i + order]) for row in rows for i in range(7 - order)]
    assert distinct_ngrams(jnp.array(rows), order) == len({*ngrams}) / len(ngrams)


def test_distinct_ngrams_of_one_text_again_and_again():
    assert distinct_ngrams(np.arange(10)[None]) == 1
    assert distinct_ngrams(np.tile(np.arange(10), (5, 1))) == 1 / 5
    assert distinct_ngrams(np.zeros((2, 10), np.uint8)) == 1 / 14
