"""The Gaussian image model and probabilistic PCA against scikit-learn, scipy and their optimum."""

import warnings

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA

from gen_jax import data
from gen_jax.classical import gaussian_image, mixture_model, moments, stationary_field
from gen_jax.classical import probabilistic_pca as ppca
from gen_jax.errors import ConfigError, DataError

FALSE_ALARM = 5e-7


@pytest.fixture
def x():
    """300 correlated examples of 6 dimensions, float64."""
    random = np.random.default_rng(1)
    return random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + random.normal(size=6)


def dense(law):
    """The covariance [D, D] that a law describes."""
    off = np.eye(len(law.mean)) - law.axes @ law.axes.T
    return np.asarray((law.axes * law.variances) @ law.axes.T + law.noise * off)


@pytest.mark.parametrize("n", [300, 4])
def test_axes_are_scikit_learns(x64, x, n):
    """With more and with fewer examples than dimensions."""
    law = gaussian_image.fit(jnp.asarray(x[:n]), rank=3)
    theirs = PCA(3, svd_solver="full").fit(x[:n])
    np.testing.assert_allclose(law.mean, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(law.variances, theirs.explained_variance_ * (n - 1) / n, rtol=1e-10)
    cosines = np.abs(np.sum(np.asarray(law.axes).T * theirs.components_, 1))
    np.testing.assert_allclose(cosines, 1, atol=1e-10)


def test_probabilistic_pca_is_scikit_learns(x64, x):
    """Its noise and covariance, but that it divides variances by N - 1, as is undone here."""
    law, theirs = ppca.fit(jnp.asarray(x), 2), PCA(2, svd_solver="full").fit(x)
    scale = (len(x) - 1) / len(x)
    np.testing.assert_allclose(law.noise, theirs.noise_variance_ * scale, rtol=1e-10)
    np.testing.assert_allclose(dense(law), theirs.get_covariance() * scale, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 3, 5, 6])
def test_log_prob_is_the_dense_normals(x64, x, rank):
    points = jnp.asarray(x)
    law = ppca.fit(points, rank) if rank < 6 else gaussian_image.fit(points)
    full = scipy.stats.multivariate_normal(np.asarray(law.mean), dense(law))
    np.testing.assert_allclose(gaussian_image.log_prob(law, points), full.logpdf(x), rtol=1e-10)


def test_full_rank_has_the_covariance_of_the_data(x64, x):
    law = gaussian_image.fit(jnp.asarray(x), epsilon=0.1)
    np.testing.assert_allclose(dense(law), np.cov(x.T, ddof=0) + 0.1 * np.eye(6), atol=1e-10)
    few = gaussian_image.fit(jnp.asarray(x[:4]), epsilon=0.1)
    assert few.axes.shape == (6, 4)
    np.testing.assert_allclose(dense(few), np.cov(x[:4].T, ddof=0) + 0.1 * np.eye(6), atol=1e-10)


def test_probabilistic_pca_is_at_the_maximum(x64, x):
    """Its gradient vanishes, and no perturbed mean, loadings or noise is more likely."""
    points, law = jnp.asarray(x), ppca.fit(jnp.asarray(x), 2)
    loadings = ppca.loadings(law)
    data_covariance = jnp.cov(points.T, ddof=0)

    def mean_log_prob(mean, loadings, log_noise):
        covariance = loadings @ loadings.T + jnp.exp(log_noise) * jnp.eye(6)
        shift = points.mean(0) - mean
        inverse = jnp.linalg.inv(covariance)
        square = jnp.trace(inverse @ (data_covariance + jnp.outer(shift, shift)))
        return -0.5 * (square + jnp.linalg.slogdet(2 * jnp.pi * covariance)[1])

    best = (law.mean, loadings, jnp.log(law.noise))
    value = mean_log_prob(*best)
    np.testing.assert_allclose(value, gaussian_image.log_prob(law, points).mean(), rtol=1e-12)
    for slope in jax.grad(mean_log_prob, argnums=(0, 1, 2))(*best):
        np.testing.assert_allclose(slope, 0, atol=1e-9)
    for seed in range(20):
        keys = jax.random.split(jax.random.key(seed), 3)
        moved = [b + 0.1 * jax.random.normal(k, b.shape) for k, b in zip(keys, best)]
        assert mean_log_prob(*moved) < value


def test_posterior_of_the_latent_variables(x64, x):
    """That of the joint Gaussian of z and x, by conditioning."""
    law = ppca.fit(jnp.asarray(x), 2)
    loadings = np.asarray(ppca.loadings(law))
    gain = np.linalg.solve(dense(law), loadings).T
    mean, variances = ppca.posterior(law, jnp.asarray(x))
    np.testing.assert_allclose(mean, (x - np.asarray(law.mean)) @ gain.T, atol=1e-10)
    np.testing.assert_allclose(np.diag(variances), np.eye(2) - gain @ loadings, atol=1e-10)
    z = jnp.zeros((1, 2)).at[0, 1].set(1)
    np.testing.assert_allclose(ppca.decode(law, z)[0], law.mean + loadings[:, 1], atol=1e-12)


@pytest.mark.parametrize("rank", [2, 6])
def test_samples_by_gaussian_scores(key, x, rank):
    """60,000 scores at 5e-7, beside a variance that is 5 % off."""
    points = jnp.asarray(x, jnp.float32)
    law = ppca.fit(points, rank) if rank < 6 else gaussian_image.fit(points)
    drawn = np.asarray(gaussian_image.sample(key, law, 10_000), np.float64)
    whiten = np.linalg.inv(np.linalg.cholesky(dense(law).astype(np.float64)))
    z = (drawn - np.asarray(law.mean)) @ whiten.T
    assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert exact.standard_normal_p_value(z * np.sqrt(1.05)) < FALSE_ALARM
    products = (z.T @ z / np.sqrt(len(z)))[np.triu_indices(6, 1)]
    assert np.abs(products).max() < scipy.stats.norm.isf(FALSE_ALARM / 2 / len(products))
    np.testing.assert_allclose(gaussian_image.sample(key, law, 3), drawn[:3], rtol=1e-5, atol=1e-5)


def test_moments_of_parts_are_those_of_the_whole(x64, x):
    state = moments.nothing(6, jnp.float64)
    for part in (x[:1], x[1:120], x[120:]):
        state = moments.add(state, jnp.asarray(part))
    assert state.size == 300
    np.testing.assert_allclose(state.mean, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(state.covariance, np.cov(x.T, ddof=0), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: gaussian_image.fit(x[:1]), DataError, "1 example has no covariance"),
        (lambda x: gaussian_image.fit(x[:4]), DataError, "4 examples determine 3 of 6"),
        (lambda x: gaussian_image.fit(x * jnp.inf), DataError, "not finite"),
        (lambda x: gaussian_image.fit(x, rank=7), ConfigError, "rank=7"),
        (lambda x: gaussian_image.fit(x, epsilon=-1.0), ConfigError, "epsilon=-1.0"),
        (lambda x: ppca.fit(x, 6), ConfigError, "rank=6"),
        (lambda x: ppca.fit(x[:3], 2), DataError, "rank=2 leaves no variance"),
    ],
)
def test_bad_input(x64, x, call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.asarray(x))


@pytest.mark.parametrize("kind", ["gaussian", "ppca"])
def test_as_a_model_whole_epochs_are_the_fit(kind):
    """Ten batches of digits end at the closed form on all of them; bits/dim are in data units."""
    digits = data.load("digits")["x"][:1000]
    options = {"shape": (8, 8, 1), "transform": data.to_unit()}
    model = ppca.probabilistic_pca(10, **options)
    if kind == "gaussian":
        model = gaussian_image.gaussian_image(epsilon=0.01, **options)
    key, step = jax.random.key(0), jax.jit(model.step)
    state = model.init(key, {"x": digits[:2]})
    for part in np.split(digits, 10):
        state, metrics = step(key, state, {"x": part})
    flat = jnp.asarray(digits.reshape(1000, -1) / 255, jnp.float32)
    law = ppca.fit(flat, 10) if kind == "ppca" else gaussian_image.fit(flat, epsilon=0.01)
    expected = gaussian_image.log_prob(law, flat[:20]) - 64 * np.log(255)
    log_p = model.log_prob(key, state, digits[:20])
    np.testing.assert_allclose(log_p, expected, atol=0.2)
    assert metrics["variance"] == pytest.approx(float(flat.var(0).mean()), rel=1e-4)
    drawn = model.sample(key, state, 5)
    assert drawn.shape == (5, 8, 8, 1)
    assert drawn.dtype == jnp.uint8
    assert model.log_prob_kind == "lower bound"  # of the probability of a dequantised image


def test_the_floor_of_a_model_is_a_share_of_the_variance(x):
    """Data 1e4 times smaller have the same density in their units."""
    key, dim, log_p = jax.random.key(0), x.shape[1], []
    for scale in (1.0, 1e-4):
        model = ppca.probabilistic_pca(1, shape=(dim,))
        batch = {"x": jnp.asarray(scale * x, jnp.float32)}
        state, _ = model.step(key, model.init(key, batch), batch)
        log_p.append(model.log_prob(key, state, batch["x"]) + dim * np.log(scale))
    np.testing.assert_allclose(*log_p, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "model",
    [
        gaussian_image.gaussian_image(shape=(8, 8, 1)),
        stationary_field.stationary_field(shape=(8, 8, 1)),
        mixture_model.gaussian_mixture(2, shape=(8, 8, 1), method="gradient"),
    ],
)
def test_numbers_in_units_of_the_data_are_said_where_data_are_small(model):
    """An epsilon of 1e-3 drowns a variance of 1e-8, and Adam leaps over the data by 0.01."""
    images = np.random.default_rng(0).normal(size=(9, 8, 8, 1)).astype(np.float32)
    with pytest.warns(UserWarning, match=r"standard deviation of 0\.0001, .*scale the data"):
        model.init(jax.random.key(0), {"x": 1e-4 * images})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.init(jax.random.key(0), {"x": images})
