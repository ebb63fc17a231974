"""Every target: its constant by quadrature, its exact samples against its density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from gen_jax.errors import ConfigError
from gen_jax.sampling import TARGETS, make_target

SMALL = {"funnel": {"dim": 2}, "many_well": {"dim": 2}, "clayton": {"dim": 2}}
PLANE = ["ring", "grid", "cross", "banana", *SMALL]
BOXES = {"banana": (50, 80), "funnel": (14, 1500), "ring": (8, 8)}


@pytest.mark.parametrize("name", ["ring", "grid", "cross", "banana", "many_well", "clayton"])
def test_log_normalizer_by_quadrature_in_the_plane(x64, name):
    target = make_target(name, **SMALL.get(name, {}))
    wide, high = BOXES.get(name, (8, 8))
    x, y = np.linspace(-wide, wide, 1601), np.linspace(-high, high, 1601)
    points = jnp.asarray(np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2))
    density = np.exp(np.asarray(target.log_density(points))).reshape(1601, 1601)
    total = scipy.integrate.simpson(scipy.integrate.simpson(density, x=y), x=x)
    assert np.log(total) == pytest.approx(target.log_normalizer, abs=1e-4)


def test_log_normalizer_of_the_funnel_and_of_more_dimensions(x64):
    """Given x_1 the funnel is Gaussian: the integral over the others in closed form."""
    funnel = make_target("funnel", dim=5)
    width = np.linspace(-30, 30, 20_001)
    x = jnp.zeros((len(width), 5)).at[:, 0].set(width)
    inner = np.exp(np.asarray(funnel.log_density(x)) + 2 * (np.log(2 * np.pi) + width))
    total = np.log(scipy.integrate.simpson(inner, x=width))
    assert total == pytest.approx(funnel.log_normalizer, abs=1e-8)
    wells = [make_target("many_well", dim=dim).log_normalizer for dim in (2, 8)]
    assert wells[1] == pytest.approx(4 * wells[0])


def test_the_clayton_density_is_that_of_its_distribution_function(x64):
    """The third mixed derivative of C(F(x)) = (sum u^-theta - 2)^(-1/theta), by autodiff."""
    target = make_target("clayton", dim=3, bimodal=2)
    cdf = jax.scipy.stats.norm.cdf

    def joint(a, b, c):
        two = lambda x: 0.7 * cdf(x, -1, 0.2) + 0.3 * cdf(x, 1, 0.2)
        return (two(a) ** -2 + two(b) ** -2 + cdf(c, 0, 0.5) ** -2 - 2) ** -0.5

    density = jax.grad(jax.grad(jax.grad(joint, 0), 1), 2)
    x = jnp.array([[-1.1, 1.2, 0.3], [-0.9, -1.0, -0.4], [0.9, 1.1, 0.1]])
    expected = jnp.log(jax.vmap(density)(*x.T))
    np.testing.assert_allclose(target.log_density(x), expected, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "logistic_regression"])
def test_the_score_of_exact_samples_has_mean_zero(x64, key, name):
    """E[score] = 0 and E[x_i score_i] = -1; each within five standard errors (1e-5 by chance)."""
    target = make_target(name)
    x = target.sample(key, 20_000)
    score = np.asarray(jax.grad(lambda x: target.log_density(x).sum())(x))
    # The scores of the funnel's narrow coordinates have no variance worth the name.
    kept = slice(1) if name == "funnel" else slice(None)
    x, score = np.asarray(x)[:, kept], score[:, kept]
    for values, mean in ((score, 0.0), (x * score, -1.0)):
        error = values.std(0) / np.sqrt(len(values))
        assert np.all(np.abs(values.mean(0) - mean) < 5 * error), name


def test_exact_samples_have_their_marginals(key):
    """Kolmogorov-Smirnov at 1e-6 in each coordinate, beside one that is five percent off."""
    wells = make_target("many_well", dim=4).sample(key, 20_000)
    copula = np.asarray(make_target("clayton", dim=10).sample(key, 20_000))
    p_value = lambda x, law: scipy.stats.kstest(np.asarray(x), law.cdf).pvalue
    assert p_value(wells[:, 1], scipy.stats.norm()) > 1e-6
    assert p_value(copula[:, 9], scipy.stats.norm(0, 0.5)) > 1e-6
    assert p_value(1.1 * copula[:, 9], scipy.stats.norm(0, 0.5)) < 1e-6
    low = (copula[:, :8] < 0).mean(0)
    assert np.all(np.abs(low - 0.7) < 5 * np.sqrt(0.21 / 20_000))
    np.testing.assert_allclose(copula[:, 0][copula[:, 0] < 0].std(), 0.2, rtol=0.03)


def test_mode_weights_of_the_copula(key):
    target = make_target("clayton")
    assert target.weights.sum() == pytest.approx(1)
    assert len(target.modes) == 256
    x = np.asarray(target.sample(key, 50_000))
    pattern = (x[:, :8] > 0) @ (1 << np.arange(8)[::-1])
    share = np.bincount(pattern, minlength=256) / len(x)
    codes = (target.modes[:, :8] > 0) @ (1 << np.arange(8)[::-1])
    error = np.sqrt(target.weights * (1 - target.weights) / len(x))
    assert np.all(np.abs(share[codes] - target.weights) < 5.5 * error + 1e-4)


def test_logistic_regression_against_scipy(x64, key):
    """The posterior mode is that of scikit-learn's ridge-penalised fit."""
    from sklearn.linear_model import LogisticRegression

    target = make_target("logistic_regression", prior_std=0.7)
    from sklearn.datasets import load_breast_cancer

    inputs, outcome = load_breast_cancer(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    inputs = np.column_stack([np.ones(len(inputs)), inputs])
    fit = LogisticRegression(C=0.49, fit_intercept=False, tol=1e-10, max_iter=10_000)
    mode = fit.fit(inputs, outcome).coef_
    gradient = jax.grad(lambda x: target.log_density(x).sum())(jnp.asarray(mode))
    assert np.abs(gradient).max() < 1e-3
    assert target.dim == 31


@pytest.mark.parametrize("name", TARGETS)
def test_densities_are_batched_and_finite(key, name):
    target = make_target(name)
    x = 3 * jax.random.normal(key, (5, target.dim))
    values = jax.jit(target.log_density)(x)
    assert values.shape == (5,)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(target.log_density(x[2:3])[0], values[2], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rings", {}, "target='rings'"),
        ("ring", {"std": 0.0}, "std=0.0"),
        ("many_well", {"dim": 5}, "even"),
        ("funnel", {"dim": 1}, "dim=1"),
        ("cross", {"correlation": 1.0}, "correlation=1.0"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_target(name, **options)
