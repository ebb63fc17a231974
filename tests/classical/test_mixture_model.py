"""A mixture as a model: its steps are EM, stepwise EM settles, the contract carries it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import data, training
from gen_jax.classical import kmeans
from gen_jax.classical import mixture as gm
from gen_jax.classical.mixture_model import blend
from gen_jax.errors import ConfigError


def test_full_batches_without_forgetting_are_em(x64, points):
    x, key = jnp.asarray(points), jax.random.key(1)
    model = gm.gaussian_mixture(3, shape=(3,), forgetting=0.0, epsilon=1e-6)
    state = model.init(key, {"x": x})
    floor = kmeans.variance_floor(x, 1e-6)
    start = kmeans.start_mixture(jax.random.split(key)[1], x, 3, "full", floor)
    step, losses = jax.jit(model.step), []
    for _ in range(5):
        state, metrics = step(key, state, {"x": x})
        losses.append(-float(metrics["loss"]))
    fit = gm.fit_em(key, x, 3, start=start, max_iterations=5, tolerance=0.0)
    np.testing.assert_allclose(losses, fit.log_likelihoods, atol=1e-10)
    np.testing.assert_allclose(state.mixture.means, fit.mixture.means, atol=1e-9)
    np.testing.assert_allclose(model.log_prob(key, state, x), gm.log_prob(state.mixture, x))


def test_blend_is_the_moments_of_the_union(x64, points):
    """Of two parts of a sample, each one component."""
    x = jnp.asarray(points)
    one = lambda part: gm.fit_em(jax.random.key(0), part, 1, epsilon=0.0).mixture
    both = blend(one(x[:500]), one(x[500:]), 0.75)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), both, one(x))


@pytest.mark.parametrize("method", ["em", "gradient"])
def test_trained_by_the_loop_it_finds_the_modes(method):
    """Minibatches of the eight Gaussians, by the same `fit` as every other family."""
    model = gm.gaussian_mixture(8, shape=(2,), method=method, covariance="diagonal")
    points = data.load("8gaussians")
    key = jax.random.key(0)
    state = training.fit(key, model, points, steps=60, batch_size=500, progress=False)
    mixture = data.toy.eight_gaussians_mixture()
    truth = float(gm.log_prob(gm.Mixture(*mixture), jnp.asarray(points["x"])).mean())
    reached = model.log_prob(key, state, points["x"])
    assert float(reached.mean()) == pytest.approx(truth, abs=0.05)
    drawn = model.sample(key, state, 800)
    nearest = np.linalg.norm(drawn[:, None] - mixture.means[None], axis=-1)
    assert np.bincount(nearest.argmin(1), minlength=8).min() > 50
    assert np.quantile(nearest.min(1), 0.99) < 0.4


def test_log_prob_does_not_depend_on_the_transform():
    """The same mixture of [0, 1] and of [-1, 1] has one density in data units."""
    digits, key = data.load("digits")["x"], jax.random.key(0)
    options = {"shape": (8, 8, 1), "epsilon": 1e-2}
    model = gm.gaussian_mixture(5, transform=data.to_unit(), **options)
    symmetric = data.chain(data.to_unit(), data.to_symmetric())
    other = gm.gaussian_mixture(5, transform=symmetric, **options)
    state = model.init(key, {"x": digits[:300]})
    state, metrics = jax.jit(model.step)(key, state, {"x": digits[:300]})
    mixture = state.mixture
    scaled = state._replace(
        mixture=mixture._replace(means=2 * mixture.means - 1, covariances=4 * mixture.covariances)
    )
    ours, theirs = model.log_prob(key, state, digits[:5]), other.log_prob(key, scaled, digits[:5])
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert np.isfinite(metrics["loss"])
    assert model.sample(key, state, 4).dtype == jnp.uint8


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (0, {}, "k=0"),
        (2, {"method": "mcmc"}, "method='mcmc'"),
        (2, {"covariance": "round"}, "covariance='round'"),
        (2, {"forgetting": 1.5}, "forgetting=1.5"),
        (2, {"epsilon": -1.0}, "epsilon=-1.0"),
    ],
)
def test_bad_options(k, options, message):
    with pytest.raises(ConfigError, match=message):
        gm.gaussian_mixture(k, shape=(2,), **options)


def test_data_of_another_shape_are_refused():
    model = gm.gaussian_mixture(2, shape=(3,))
    with pytest.raises(ConfigError, match="does not fit shape"):
        model.init(jax.random.key(0), {"x": jnp.zeros((4, 2))})
