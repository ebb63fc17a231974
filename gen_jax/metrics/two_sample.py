"""Classifier two-sample test: can a classifier tell two sets apart? (lopezpaz2017)

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


class TwoSampleTest(NamedTuple):
    """What the held-out half says.

    Fields:
      accuracy: share of held-out rows whose set was told, with its binomial standard error.
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
    hidden: int = 20,
    steps: int = 1000,
) -> TwoSampleTest:
    """Held-out accuracy of a network that tells rows of a from rows of b (lopezpaz2017 sec. 3).

    As many random rows of each set as the smaller one has; a half of each trains, the other is
    tried. Equal laws give at most the variance of the binomial law that the interval and the
    p-value assume: it is 2 q (1 - q) where the network names the second set with probability q.

    Args:
      a, b: points [N, D] and [M, D], N and M at least 4.
      hidden: rectified units of the one hidden layer (20 in the paper).
      steps: of AdamW on batches of 128; inputs are standardised by the training half.
    """
    key, (a, b) = as_key("key", key), as_pair(a, b, minimum=4)
    check_range("hidden", hidden, 1, integer=True)
    check_range("steps", steps, 1, integer=True)
    key_fit, *keys = jax.random.split(key, 3)
    n, half = min(len(a), len(b)), min(len(a), len(b)) // 2
    rows = [np.asarray(jax.random.permutation(k, len(x)))[:n] for k, x in zip(keys, (a, b))]
    train = np.concatenate([x[order[:half]] for x, order in zip((a, b), rows)])
    tried = np.concatenate([x[order[half:]] for x, order in zip((a, b), rows)])
    mean, std = train.mean(0), train.std(0)
    scaled = lambda x: (x - mean) / np.where(std > 0, std, 1)
    network = TwoLayers(int(hidden))
    predict = fit_network(
        key_fit, network, scaled(train), np.repeat([0, 1], half), steps=int(steps)
    )
    right = predict(scaled(tried)) == np.repeat([0, 1], n - half)
    count, trials = int(right.sum()), len(right)
    share = count / trials
    error = float(np.sqrt(share * (1 - share) / trials))
    return TwoSampleTest(
        Estimate(share, error),
        *proportion_interval(count, trials),
        binomial_tail(count, trials),
    )
