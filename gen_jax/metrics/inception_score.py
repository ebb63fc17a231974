"""Inception score: are samples classified with confidence, and into all classes? (salimans2016)"""

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float


@no_type_check
def inception_score(probabilities: Float[Array | np.ndarray, "..."], splits: int = 1) -> float:
    """exp(mean of KL(p(y|x) || p(y))), between 1 and the number of classes K (salimans2016).

    It never sees real data: 1 means that all samples look alike to the classifier, K that each is
    certain and all classes are equally frequent. It grows with N; the classic figure averages 10
    splits of 5000.

    Args:
      probabilities: class probabilities p(y|x) [N, K], rows summing to 1 within 1e-3.
      splits: disjoint consecutive parts, each scored with its own p(y); their scores are averaged.
        Rows must then be in random order.
    """
    p = np.asarray(as_array("probabilities", probabilities), np.float64)
    if p.ndim != 2 or len(p) == 0 or (p < 0).any() or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ConfigError(
            f"probabilities, of shape {p.shape}, must be [N, K] with rows >= 0 that sum to 1"
        )
    check_range("splits", splits, 1, len(p), integer=True)
    return float(np.mean([_score(part) for part in np.array_split(p, int(splits))]))


def _score(p: np.ndarray) -> float:
    marginal = np.broadcast_to(p.mean(0), p.shape)
    terms = np.where(p > 0, p * (np.log(np.maximum(p, 1e-300)) - np.log(marginal + 1e-300)), 0)
    return float(np.exp(terms.sum(1).mean()))
