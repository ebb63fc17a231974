"""Area under the ROC curve against scikit-learn and repeated draws."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from gen_jax.errors import ConfigError
from gen_jax.metrics import auroc


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_agrees_with_scikit_learn(digits):
    """Few digits make many ties."""
    rng = np.random.default_rng(3)
    inside, outside = (
        np.round(rng.normal(size=300), digits),
        np.round(rng.normal(0.7, 2, 170), digits),
    )
    labels = np.repeat([0, 1], [300, 170])
    wanted = roc_auc_score(labels, np.concatenate([inside, outside]))
    assert auroc(inside, outside).value == pytest.approx(wanted, abs=1e-12)
    assert auroc(outside, inside).value == pytest.approx(1 - wanted, abs=1e-12)


def test_ends():
    assert auroc(np.zeros(3), np.ones(3)) == (1.0, 0.0)
    assert auroc(np.ones(3), np.zeros(3)) == (0.0, 0.0)
    assert auroc(np.array([0.0, np.inf]), np.array([0.0, np.inf])).value == 0.5


def test_error_is_the_scatter_over_draws():
    """Of N(1, 1) against N(0, 1) the area is Phi(1 / sqrt 2); 400 draws of 60 and 90 scores."""
    rng = np.random.default_rng(5)
    draws = [auroc(rng.normal(size=60), rng.normal(1, 1, 90)) for _ in range(400)]
    z = np.array([(d.value - norm.cdf(np.sqrt(0.5))) / d.error for d in draws])
    assert abs(z.mean()) < 0.3
    assert 0.85 < z.std() < 1.15


def test_refusals():
    with pytest.raises(ConfigError, match="N >= 2"):
        auroc(np.zeros(1), np.zeros(5))
    with pytest.raises(ConfigError, match="1 scores are NaN"):
        auroc(np.array([0, np.nan]), np.zeros(5))
