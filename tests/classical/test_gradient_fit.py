"""Gradient descent: parameters are the mixture they stand for; it ends where EM ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.classical import gradient_fit
from gen_jax.classical import mixture as gm
from gen_jax.errors import ConfigError, DataError


@pytest.mark.parametrize("kind", gm.COVARIANCES)
def test_parameters_stand_for_the_mixture(x64, points, known, kind):
    mixture = known()
    if kind == "diagonal":
        variances = jnp.diagonal(mixture.covariances, axis1=1, axis2=2)
        mixture = mixture._replace(covariances=variances)
    params = gradient_fit.free(mixture, 1e-4)
    back = gradient_fit.constrained(params, 1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), mixture, back
    )
    x = jnp.asarray(points[:40])
    value = gradient_fit.mean_log_prob(params, x, 1e-4)
    np.testing.assert_allclose(value, gm.log_prob(mixture, x).mean(), rtol=1e-12)


@pytest.mark.parametrize("kind", gm.COVARIANCES)
def test_ends_where_em_ends(points, kind):
    """The same local maximum from the same start, to 1e-3 nats; minibatches come near."""
    x, key = jnp.asarray(points, jnp.float32), jax.random.key(2)
    by_em = gm.fit_em(key, x, 3, covariance=kind, tolerance=1e-6)
    target = float(gm.log_prob(by_em.mixture, x).mean())
    reached = gm.fit_gradient(key, x, 3, covariance=kind, steps=300)
    assert float(gm.log_prob(reached.mixture, x).mean()) == pytest.approx(target, abs=1e-3)
    assert reached.log_likelihoods.shape == (300,)
    assert float(reached.log_likelihoods[-1]) == pytest.approx(target, abs=2e-3)
    rough = gm.fit_gradient(key, x, 3, covariance=kind, steps=300, batch_size=100)
    assert float(gm.log_prob(rough.mixture, x).mean()) == pytest.approx(target, abs=0.03)


def test_starts_where_it_is_told(x64, points, known):
    x = jnp.asarray(points)
    fit = gm.fit_gradient(jax.random.key(0), x, 3, steps=1, start=known())
    assert float(fit.log_likelihoods[0]) == pytest.approx(float(gm.log_prob(known(), x).mean()))


def test_bad_input(points):
    x, key = jnp.asarray(points[:5], jnp.float32), jax.random.key(0)
    with pytest.raises(DataError, match="k=6"):
        gm.fit_gradient(key, x, 6)
    with pytest.raises(ConfigError, match="steps=0"):
        gm.fit_gradient(key, x, 2, steps=0)
    with pytest.raises(ConfigError, match="batch_size=0"):
        gm.fit_gradient(key, x, 2, batch_size=0)
