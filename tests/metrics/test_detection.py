"""Area under the ROC curve against scikit-learn and repeated draws; scores of anomalies."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from gen_jax.errors import ConfigError
from gen_jax.metrics import auroc, classifier_scores, likelihood_scores, png_nats


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


def test_png_of_noise_is_longer_than_one_of_a_single_grey():
    noise = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    colour = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert png_nats(noise).min() > png_nats(np.zeros_like(noise)).max() > 0
    # Noise cannot be coded: 8 bits a value, and the file's head.
    assert png_nats(colour).min() > 8 * np.log(2) * 8 * 8 * 3


def test_scores_rank_what_does_not_belong():
    """Of a unit Gaussian: the likelihood misses points nearer to the mean than any data, typicality
    finds them; a background as the model itself leaves nothing; energies are logsumexp's."""
    rng, dim = np.random.default_rng(0), 100
    log_p = lambda x: norm.logpdf(x).sum(1)
    data, centre = rng.normal(size=(200, dim)), 0.5 * rng.normal(size=(200, dim))
    mean = 0.5 * dim * (1 + np.log(2 * np.pi))
    inside, outside = (likelihood_scores(log_p(x), mean, log_p(x)) for x in (data, centre))
    assert auroc(inside["likelihood"], outside["likelihood"]).value < 0.01
    assert auroc(inside["typicality"], outside["typicality"]).value > 0.99
    np.testing.assert_array_equal(outside["likelihood_ratio"], 0)
    logits = rng.normal(size=(5, 3)).astype(np.float32)
    found = classifier_scores(logits)
    np.testing.assert_allclose(found["classifier_energy"], -logsumexp(logits, axis=1), rtol=1e-6)
    best = log_softmax(logits, axis=1).max(1)
    np.testing.assert_allclose(found["classifier_softmax"], -best, rtol=1e-5)
