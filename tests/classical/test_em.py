"""EM: monotone, scikit-learn's from the same start, closed forms, recovery, bad data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from gen_jax.classical import em_steps, kmeans
from gen_jax.classical import mixture as gm
from gen_jax.errors import ConfigError, DataError, NumericalError

SKLEARN = {"full": "full", "diagonal": "diag"}


def start_of(x, k, covariance):
    return kmeans.start_mixture(jax.random.key(3), x, k, covariance, 1e-6)


@pytest.mark.parametrize("covariance", gm.COVARIANCES)
def test_never_lowers_the_log_likelihood(x64, points, covariance):
    """Five components on data of three, from several starts; and a planted error is seen."""
    for seed in range(3):
        fit = gm.fit_em(
            jax.random.key(seed),
            jnp.asarray(points),
            5,
            covariance=covariance,
            epsilon=0.0,
            tolerance=0.0,
            max_iterations=40,
        )
        assert fit.iterations == 40
        assert np.diff(np.asarray(fit.log_likelihoods)).min() > -1e-12
    blocks = em_steps.in_blocks(jnp.asarray(points), 5)
    wrong = fit.mixture._replace(covariances=1.05 * fit.mixture.covariances)
    before, after = (em_steps.e_step(m, blocks)[0].log_prob for m in (fit.mixture, wrong))
    assert after < before


@pytest.mark.parametrize("covariance", gm.COVARIANCES)
def test_is_scikit_learns_from_the_same_start(x64, points, covariance):
    """On data of unit variance, where our relative epsilon is their absolute one."""
    points = (points - points.mean(0)) / points.std(0)
    x = jnp.asarray(points)
    first = start_of(x, 4, covariance)
    precisions = np.linalg.inv(first.covariances) if covariance == "full" else 1 / first.covariances
    theirs = GaussianMixture(
        4,
        covariance_type=SKLEARN[covariance],
        weights_init=np.asarray(first.weights),
        means_init=np.asarray(first.means),
        precisions_init=np.asarray(precisions),
        tol=0,
        max_iter=25,
        reg_covar=1e-6,
    )
    with pytest.warns(match="did not converge"):
        theirs.fit(points)
    options = {"epsilon": 1e-6, "tolerance": 0.0, "max_iterations": 25, "start": first}
    ours = gm.fit_em(jax.random.key(0), x, 4, **options)
    np.testing.assert_allclose(ours.mixture.weights, theirs.weights_, atol=1e-6)
    np.testing.assert_allclose(ours.mixture.means, theirs.means_, atol=1e-6)
    np.testing.assert_allclose(ours.mixture.covariances, theirs.covariances_, atol=1e-6)
    np.testing.assert_allclose(
        gm.log_prob(ours.mixture, x), theirs.score_samples(points), atol=1e-6
    )
    np.testing.assert_allclose(ours.log_likelihoods[-1], theirs.lower_bound_, atol=1e-9)


def test_one_component_is_the_mean_and_covariance(x64, points):
    fit = gm.fit_em(jax.random.key(0), jnp.asarray(points), 1, epsilon=0.0)
    np.testing.assert_allclose(fit.mixture.means[0], points.mean(0), atol=1e-12)
    np.testing.assert_allclose(fit.mixture.covariances[0], np.cov(points.T, ddof=0), atol=1e-12)
    assert fit.converged
    assert fit.iterations <= 3


def test_blocks_change_nothing(x64, points, known, monkeypatch):
    """Sizes that do and do not divide the number of points."""
    results = []
    for elements in (250_000, 1_200, 3 * 3 * 1_000):
        monkeypatch.setattr(em_steps, "BLOCK_ELEMENTS", elements)
        blocks = em_steps.in_blocks(jnp.asarray(points), 3)
        sums, log_p = em_steps.e_step(known(), blocks)
        results.append((*sums, log_p.ravel()[:2000]))
        assert np.isposinf(log_p.ravel()[2000:]).all()
    assert blocks.x.shape[0] == 2
    for other in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), results[0], other)


@pytest.mark.parametrize("covariance", gm.COVARIANCES)
def test_recovers_a_known_mixture(key, points, known, covariance):
    """Within six standard errors of what N w points of each component tell."""
    truth = known()
    if covariance == "diagonal":
        variances = np.diagonal(truth.covariances, axis1=1, axis2=2)
        random = np.random.default_rng(0)
        k = random.choice(3, 4000, p=np.asarray(truth.weights) / np.sum(truth.weights))
        points = np.asarray(truth.means)[k] + np.sqrt(variances[k]) * random.normal(size=(4000, 3))
    fit = gm.fit_em(key, jnp.asarray(points, jnp.float32), 3, covariance=covariance, restarts=2)
    distance = np.linalg.norm(truth.means[:, None] - fit.mixture.means[None], axis=-1)
    order = distance.argmin(1)
    assert sorted(order) == [0, 1, 2]
    n = len(points) * np.asarray(truth.weights)
    wide = np.sqrt(np.diagonal(truth.covariances, axis1=1, axis2=2))
    found = fit.mixture.covariances[order]
    if covariance == "full":
        found = np.diagonal(found, axis1=1, axis2=2)
    error = lambda ours, theirs, std: (np.abs(ours - theirs) / std).max()
    assert error(fit.mixture.means[order], truth.means, wide / np.sqrt(n)[:, None]) < 6
    assert error(np.log(found), 2 * np.log(wide), np.sqrt(2 / n)[:, None]) < 6
    assert error(fit.mixture.weights[order], truth.weights, np.sqrt(0.25 / len(points))) < 6


def test_restarts_keep_the_best(points):
    x = jnp.asarray(points, jnp.float32)
    options = {"tolerance": 1e-4, "max_iterations": 30}
    best = gm.fit_em(jax.random.key(1), x, 6, restarts=4, **options)
    last = lambda fit: float(fit.log_likelihoods[fit.iterations - 1])
    keys = jax.random.split(jax.random.key(1), 4)
    starts = [kmeans.start_mixture(k, x - x.mean(0), 6, "full", 1e-6) for k in keys]
    starts = [s._replace(means=s.means + x.mean(0)) for s in starts]
    each = [last(gm.fit_em(jax.random.key(0), x, 6, start=s, **options)) for s in starts]
    assert last(best) == pytest.approx(max(each), abs=1e-3)


def test_stop_rule(points):
    x = jnp.asarray(points, jnp.float32)
    fit = gm.fit_em(jax.random.key(0), x, 3, tolerance=1e-3)
    values, n = np.asarray(fit.log_likelihoods), int(fit.iterations)
    assert fit.converged
    assert n < 200
    assert abs(values[n - 1] - values[n - 2]) < 1e-3
    assert np.all(np.abs(np.diff(values[: n - 1])) >= 1e-3)
    assert np.isnan(values[n:]).all()


@pytest.mark.parametrize("fit", [gm.fit_em, gm.fit_gradient])
def test_units_of_the_data_change_nothing(points, fit):
    """Data of scale 1e-4, 1e4 or 1e-16, and with a unit of its own for each dimension.

    With an absolute epsilon of 1e-6 the first loses 3.7 nats of 15.7.
    """
    x, key = points[:500], jax.random.key(0)
    limit = {"steps": 150} if fit is gm.fit_gradient else {"max_iterations": 60}

    def reached(scale, shift=0.0):
        scaled = jnp.asarray(x * scale + shift, jnp.float32)
        mixture = fit(key, scaled, 3, **limit).mixture
        return float(gm.log_prob(mixture, scaled).mean() + np.sum(np.log(scale * np.ones(3))))

    plain = reached(1.0)
    for scale in (1e-4, 1e4, 1e-16):
        assert reached(scale) == pytest.approx(plain, abs=2e-3)
    assert reached(1e-4, 0.3) == pytest.approx(plain, abs=0.01)
    if fit is gm.fit_em:
        # Only the wide dimension decides where k-means++ starts: the optimum may be another.
        assert reached(np.array([1e-3, 1.0, 1e-5])) == pytest.approx(plain, abs=0.05)


def test_whole_numbers_are_points_too(points):
    """Options must not become whole numbers with the data."""
    x = np.round(50 * points[:300]).astype(np.int32)
    whole, floats = (gm.fit_em(jax.random.key(0), jnp.asarray(a), 3) for a in (x, x.astype("f4")))
    assert bool(whole.converged)
    jax.tree.map(np.testing.assert_array_equal, whole, floats)
    half = points[:300].astype(np.float16)  # of which there is no Cholesky factor
    narrow, wide = (
        gm.fit_em(jax.random.key(0), jnp.asarray(a), 3) for a in (half, half.astype("f4"))
    )
    jax.tree.map(np.testing.assert_array_equal, narrow, wide)


def test_a_floor_is_a_share_of_each_variance(x64, points):
    x = jnp.asarray(points).at[:, 1].set(0.1)
    floor = kmeans.variance_floor(x, 0.01)
    variances = 0.01 * points.var(0)
    np.testing.assert_allclose(floor[::2], variances[::2], rtol=1e-12)
    assert float(floor[1]) == pytest.approx((variances[0] + variances[2]) / 3)
    one = gm.fit_em(jax.random.key(0), jnp.asarray(points), 1, epsilon=0.01)
    truth = np.cov(points.T, ddof=0) + np.diag(variances)
    np.testing.assert_allclose(one.mixture.covariances[0], truth, rtol=1e-10)


def test_an_empty_component_is_rescued(x64, points):
    """One that starts far from everything ends where the points are, and is counted."""
    x = jnp.asarray(points)
    first = start_of(x, 3, "full")
    lost = first._replace(means=first.means.at[1].set(1e3))
    fit = gm.fit_em(jax.random.key(0), x, 3, start=lost)
    assert fit.rescued == 1
    assert float(fit.mixture.weights.min()) > 0.1
    direct = gm.fit_em(jax.random.key(0), x, 3, start=first)
    assert float(gm.log_prob(fit.mixture, x).mean()) == pytest.approx(
        float(gm.log_prob(direct.mixture, x).mean()), abs=0.02
    )


@pytest.mark.parametrize("covariance", gm.COVARIANCES)
def test_without_any_point_a_component_stays_as_it_is(x64, points, covariance):
    """So far away that its densities are 0: the others move as they would without it."""
    x, k = jnp.asarray(points), 3
    first = start_of(x, k, covariance)
    lost = first._replace(
        means=first.means.at[1].set(1e3), covariances=first.covariances.at[1].multiply(0.7)
    )
    blocks = em_steps.in_blocks(x, k)
    update = lambda m: em_steps.m_step(m, em_steps.e_step(m, blocks)[0], 1e-6)
    after, kept = update(lost), np.array([0, 2])
    assert after.weights[1] == 0
    np.testing.assert_array_equal(after.means[1], lost.means[1])
    np.testing.assert_array_equal(after.covariances[1], lost.covariances[1])
    alone = update(jax.tree.map(lambda leaf: leaf[kept], lost))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[kept], b, rtol=1e-9), after, alone)


def test_k_means_plus_plus_spreads_its_centres(key):
    """Eight distant groups: every one is found, which chance would do in 8!/8^8 = 0.2 %."""
    angle = 2 * np.pi * np.arange(8) / 8
    groups = 10 * np.stack([np.cos(angle), np.sin(angle)], 1)
    x = jnp.asarray(np.repeat(groups, 50, 0) + np.random.default_rng(0).normal(size=(400, 2)) * 0.1)
    centres, nearest = kmeans.plus_plus(key, x, 8)
    found = np.linalg.norm(centres[:, None] - groups[None], axis=-1).argmin(1)
    assert sorted(found) == list(range(8))
    brute = np.linalg.norm(x[:, None] - centres[None], axis=-1).min(1) ** 2
    np.testing.assert_allclose(nearest, brute, atol=1e-4)


def test_compiles_once_and_inside_jit(points, count_traces):
    counted = count_traces(lambda key, x: gm.fit_em(key, x, 2, max_iterations=3).mixture.means)
    compiled = jax.jit(counted)
    x = jnp.asarray(points[:100], jnp.float32)
    first = compiled(jax.random.key(0), x)
    compiled(jax.random.key(1), x + 1)
    assert counted.calls == 1
    assert np.isfinite(first).all()


FLAT = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), np.ones((20, 1))], 1)
START = gm.Mixture(*[np.ones((2, 3))] * 3)
TWINS = np.random.default_rng(0).normal(size=(20, 1)) * np.ones((1, 3))


@pytest.mark.parametrize(
    ("x", "k", "options", "error", "message"),
    [
        (FLAT[:3], 4, {}, DataError, "k=4 components need at least as many points, got 3"),
        (FLAT, 2, {"epsilon": 0.0}, DataError, "span 2 of 3 dimensions"),
        (FLAT, 2, {"epsilon": 0.0, "covariance": "diagonal"}, DataError, "span 2 of 3"),
        (TWINS, 2, {"epsilon": 0.0}, DataError, "span 1 of 3 dimensions"),
        (np.ones((20, 3)), 2, {}, DataError, "all 20 points are equal"),
        (FLAT * np.nan, 2, {}, DataError, "20 of 20 points are not finite"),
        (FLAT, 0, {}, ConfigError, "k=0"),
        (FLAT, 2, {"covariance": "round"}, ConfigError, "covariance='round'"),
        (TWINS, 2, {"restarts": 2, "start": START}, ConfigError, "restarts=2 would all begin"),
        (FLAT, 2, {"restarts": 0}, ConfigError, "restarts=0"),
        (FLAT, 2, {"epsilon": -1.0}, ConfigError, "epsilon=-1.0"),
        (FLAT[:3, :2], 3, {"epsilon": 0.0}, NumericalError, "became singular"),
    ],
)
def test_bad_input(x64, x, k, options, error, message):
    with pytest.raises(error, match=message):
        gm.fit_em(jax.random.key(0), jnp.asarray(x), k, **options)


def test_as_many_components_as_points(points):
    """epsilon keeps it finite: every point ends as a component of its own."""
    fit = gm.fit_em(jax.random.key(0), jnp.asarray(points[:10], jnp.float32), 10, epsilon=1e-4)
    assert np.isfinite(fit.mixture.covariances).all()
    assert np.isfinite(fit.log_likelihoods[0])
