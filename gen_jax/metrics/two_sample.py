"""Classifier two-sample test: can a classifier separate two sets? (lopezpaz2017)

A small network is trained on a half of the rows and tried on the other half. Its accuracy there is
1/2 where the laws are equal, and 1/2 + (total variation) / 2 at most.
"""

from typing import NamedTuple

import jax
import numpy as np
from flax import linen as nn

from gen_jax.checks import as_key, no_type_check
from gen_jax.errors import check_range
from gen_jax.metrics.fitted import fit_network
from gen_jax.metrics.pairwise import as_pair
from gen_jax.metrics.proportion import binomial_tail, proportion_interval
from gen_jax.types import Array, Estimate, Float, Key, Num

RATES = (2e-4, 1e-2)
"""Of learning, falling to 0: the first for few rows and faint differences, the second for many."""


class TwoSampleTest(NamedTuple):
    """What the held-out half says.

    Fields:
      accuracy: share of held-out rows that were named correctly, with its binomial error.
      low, high: its exact 95 % interval (clopper1934).
      p_value: probability of this accuracy or a higher one where the laws are equal.
    """

    accuracy: Estimate
    low: float
    high: float
    p_value: float


class TwoLayers(nn.Module):
    """Hidden layer of rectified units, then the logits."""

    hidden: int
    classes: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B K"]:
        return nn.Dense(self.classes)(nn.relu(nn.Dense(self.hidden)(x)))


@no_type_check
def classifier_two_sample(
    key: Key[Array, ""],
    a: Num[Array | np.ndarray, "N ..."],
    b: Num[Array | np.ndarray, "M ..."],
    hidden: int = 64,
    steps: int = 2000,
) -> TwoSampleTest:
    """Held-out accuracy of a network that separates rows of a and of b (lopezpaz2017 sec. 3).

    As many random rows of each set as the smaller one has; a half of each trains, of which a
    quarter chooses between two rates of learning, the other half is tried. Equal laws give at most
    the variance of the binomial law that the interval and the p-value assume: 2 q (1 - q) in the
    place of 1/2 where the network names the second set with probability q.

    Args:
      a, b: points [N, D] and [M, D], N and M at least 4.
      hidden: rectified units of the one hidden layer; 20, as in the paper, see less.
      steps: of AdamW on batches of 128; inputs are standardised by the training half.
    """
    key, (a, b) = as_key("key", key), as_pair(a, b, minimum=4)
    check_range("hidden", hidden, 1, integer=True)
    check_range("steps", steps, 1, integer=True)
    key_fit, *keys = jax.random.split(key, 3)
    n, half = min(len(a), len(b)), min(len(a), len(b)) // 2
    orders = [np.asarray(jax.random.permutation(k, len(x)))[:n] for k, x in zip(keys, (a, b))]
    # Of both sets in turn: rows that train, rows that choose the rate, rows that are tried.
    cut = lambda start, stop: np.concatenate(
        [x[order[start:stop]] for x, order in zip((a, b), orders)]
    )
    kept = half - half // 4
    train, choose, tried = cut(0, kept), cut(kept, half), cut(half, n)
    mean, std = train.mean(0), train.std(0)
    scaled = lambda x: (x - mean) / np.where(std > 0, std, 1)
    sides = lambda x: np.repeat([0, 1], len(x) // 2)
    fit = lambda rate: fit_network(
        key_fit, TwoLayers(int(hidden)), scaled(train), sides(train), steps=int(steps), rate=rate
    )
    right_of = lambda predict, x: predict(scaled(x)) == sides(x)
    fitted = [fit(rate) for rate in RATES]
    best = max(fitted, key=lambda f: right_of(f, choose).mean()) if len(choose) else fitted[0]
    right = right_of(best, tried)
    count, trials = int(right.sum()), len(right)
    share = count / trials
    error = float(np.sqrt(share * (1 - share) / trials))
    return TwoSampleTest(
        Estimate(share, error),
        *proportion_interval(count, trials),
        binomial_tail(count, trials),
    )
