"""Intervals and tests of a share of n trials, by the binomial law itself."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.errors import check_choice, check_range

METHODS = ("exact", "wilson")


def _check(successes: Any, trials: Any) -> tuple[int, int]:
    trials = check_range("trials", trials, 1, integer=True)
    return int(check_range("successes", successes, 0, trials, integer=True)), int(trials)


@no_type_check
def binomial_tail(successes: int, trials: int, rate: float = 0.5) -> float:
    """P(X >= successes) for X of the binomial law of `trials` with probability `rate`.

    With rate 1/2 the one-sided p-value of the hypothesis that answers are guesses.
    """
    k, n = _check(successes, trials)
    rate = check_range("rate", rate, 0, 1)
    if k == 0 or rate in (0, 1):
        return float(k == 0 or rate == 1)
    counts = np.arange(1, n + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n + 1 - counts) / counts))])
    j = np.arange(k, n + 1)
    terms = log_choose[k:] + j * np.log(rate) + (n - j) * np.log1p(-rate)
    return float(min(1.0, np.exp(terms).sum()))


def _exact_low(k: int, n: int, tail: float) -> float:
    """The rate at which k successes or more have the probability `tail`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60 if k else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(k, n, middle) < tail else (low, middle)
    return low


@no_type_check
def proportion_interval(
    successes: int, trials: int, confidence: float = 0.95, method: str = "exact"
) -> tuple[float, float]:
    """Two-sided confidence interval (low, high) of the probability behind a share.

    Args:
      successes: of the `trials`, which are independent.
      method: "exact" (clopper1934), which covers at least with `confidence`, or "wilson"
        (wilson1927 eq. 3), shorter, whose coverage scatters around it.
    Raises ConfigError for counts that are no counts, or a confidence outside (0, 1).
    """
    k, n = _check(successes, trials)
    check_range("confidence", confidence, 0, 1 - 1e-9, open_low=True)
    tail = (1 - confidence) / 2
    if check_choice("method", method, METHODS) == "exact":
        return _exact_low(k, n, tail), 1 - _exact_low(n - k, n, tail)
    z2 = NormalDist().inv_cdf(1 - tail) ** 2
    centre = (k + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (k * (n - k) / n + z2 / 4)) / (n + z2)
    return max(0.0, centre - half), min(1.0, centre + half)
