"""Wasserstein distances against SciPy, sorting by hand, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from scipy.optimize import linear_sum_assignment

from gen_jax.divergences import (
    COUPLINGS,
    assignment_wasserstein,
    gaussian_wasserstein,
    max_sliced_wasserstein,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein_1d,
)
from gen_jax.divergences.couplings import sinkhorn_log_plan
from gen_jax.divergences.wasserstein import distance_cost
from gen_jax.errors import ConfigError
from gen_jax.metrics import frechet_distance

RNG = np.random.default_rng(0)


def test_the_earth_mover_example_of_the_deck_is_exactly_3():
    """S1, "Wasserstein GANs": bars of mass 1/4 at [1, 2], [3, 4], twice [9, 10], [5, 6], [6, 7]."""
    pink, blue = np.array([1.5, 3.5, 9.5]), np.array([5.5, 6.5])
    mass = np.array([0.25, 0.25, 0.5])
    assert wasserstein_1d(pink, blue, weights_a=mass) == 3
    assert wasserstein_1d(pink, blue, weights_a=4 * mass, weights_b=np.ones(2)) == 3
    assert wasserstein_1d(pink[[0, 1, 2, 2]], blue) == 3
    four = pink[[0, 1, 2, 2]], blue[[0, 0, 1, 1]]
    assert assignment_wasserstein(four[0][:, None], four[1][:, None]) == 3
    assert scipy.stats.wasserstein_distance(pink, blue, mass) == 3
    # The bars themselves, not their centres: the integral of |F - G|.
    x = np.linspace(0, 11, 110_001)
    ramp = lambda low: np.clip(x - low, 0, 1)
    gap = (ramp(1) + ramp(3) + 2 * ramp(9)) / 4 - (ramp(5) + ramp(6)) / 2
    assert np.trapezoid(np.abs(gap), x) == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("sizes", [(50, 50), (40, 30), (7, 1)])
def test_masses_are_scipys(x64, sizes):
    a, b = RNG.normal(size=sizes[0]), RNG.exponential(size=sizes[1])
    mass_a, mass_b = RNG.exponential(size=sizes[0]), RNG.exponential(size=sizes[1])
    ours = jax.jit(lambda *args: wasserstein_1d(args[0], args[1], 1.0, args[2], args[3]))
    truth = scipy.stats.wasserstein_distance(a, b, mass_a, mass_b)
    np.testing.assert_allclose(ours(a, b, mass_a, mass_b), truth, rtol=1e-10)


def test_whole_masses_are_repeated_points(x64):
    a, b, times = RNG.normal(size=5), RNG.normal(size=9), np.array([3, 1, 0, 2, 3])
    truth = wasserstein_1d(np.repeat(a, times), b, p=2)
    np.testing.assert_allclose(wasserstein_1d(a, b, 2, 1.0 * times), truth, rtol=1e-10)


@pytest.mark.parametrize("sizes", [(50, 50), (50, 30), (7, 1), (12, 18)])
def test_wasserstein_1d_is_scipys(x64, sizes):
    a, b = RNG.normal(size=sizes[0]), RNG.exponential(size=sizes[1])
    truth = scipy.stats.wasserstein_distance(a, b)
    np.testing.assert_allclose(wasserstein_1d(a, b), truth, rtol=1e-12)


def test_wasserstein_1d_of_gaussians(x64):
    """W_2^2 = (m - m')^2 + (s - s')^2; quantile points leave an error of order log(n) / n."""
    quantiles = scipy.stats.norm.ppf((np.arange(20000) + 0.5) / 20000)
    value = wasserstein_1d(quantiles, 3 + 2 * quantiles, p=2)
    np.testing.assert_allclose(value, np.sqrt(9 + 1), rtol=1e-3)


def test_wasserstein_1d_of_any_order_by_repetition(x64):
    """Unequal sizes: repeating points to a common size leaves the laws as they are."""
    a, b = RNG.normal(size=4), RNG.normal(size=6)
    truth = np.mean(np.abs(np.sort(np.repeat(a, 3)) - np.sort(np.repeat(b, 2))) ** 3) ** (1 / 3)
    np.testing.assert_allclose(wasserstein_1d(a, b, p=3), truth, rtol=1e-12)


def test_sliced_wasserstein_of_a_shift(key):
    """|m| / sqrt(D): the mean of cos^2 over 4096 directions in 2-D has a relative error of 1.1 %,
    its root of 0.55 %; 3 % is more than 5 of them (false alarms 6e-7)."""
    a, shift = RNG.normal(size=(200, 2)), np.array([3.0, -4.0])
    value = sliced_wasserstein(key, a, a + shift, num_projections=4096)
    np.testing.assert_allclose(value, 5 / np.sqrt(2), rtol=0.03)


def test_sliced_wasserstein_on_a_line_is_the_one_dimensional_distance(key):
    a, b = RNG.normal(size=(40, 1)), RNG.normal(size=(30, 1)) + 1
    value = sliced_wasserstein(key, a, b, num_projections=3)
    np.testing.assert_allclose(value, wasserstein_1d(a[:, 0], b[:, 0], p=2), rtol=1e-5)


def test_a_common_shift_of_numpy_sets_changes_nothing(key):
    a, b = RNG.normal(size=(9, 2)), RNG.normal(size=(7, 2)) + 1
    for distance in (
        lambda a, b: wasserstein_1d(a[:, 0], b[:, 0]),
        lambda a, b: assignment_wasserstein(a[:7], b),
        lambda a, b: sliced_wasserstein(key, a, b, 8),
    ):
        np.testing.assert_allclose(distance(a + 1e8, b + 1e8), distance(a, b), rtol=1e-5)


def test_sliced_wasserstein_refuses_sets_of_different_dimension(key):
    with pytest.raises(ConfigError, match="dimensions"):
        sliced_wasserstein(key, np.zeros((4, 2)), np.zeros((4, 3)))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_assignment_is_scipys(x64, p):
    a, b = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3)) + 0.5
    cost = np.linalg.norm(a[:, None] - b, axis=-1) ** p
    truth = cost[linear_sum_assignment(cost)].mean() ** (1 / p)
    np.testing.assert_allclose(assignment_wasserstein(a, b, p), truth, rtol=1e-10)
    np.testing.assert_allclose(distance_cost(a, b, p), cost, rtol=1e-12)
    line = assignment_wasserstein(a[:, :1], b[:, :1], p)
    np.testing.assert_allclose(line, wasserstein_1d(a[:, 0], b[:, 0], p), rtol=1e-10)


def test_assignment_has_the_gradient_of_the_matched_distances(x64):
    """Also where two points coincide, at which the distance itself has a kink."""
    a, b = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 2))
    b[2] = a[3]
    gradient = jax.grad(lambda a: assignment_wasserstein(a, b))(jnp.asarray(a))
    assert np.isfinite(gradient).all()
    step = 1e-6
    for i in (0, 1):
        up, down = a.copy(), a.copy()
        up[i, 0] += step
        down[i, 0] -= step
        slope = (assignment_wasserstein(up, b) - assignment_wasserstein(down, b)) / (2 * step)
        np.testing.assert_allclose(gradient[i, 0], slope, rtol=1e-5)


COV_A = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.8]])
COV_B = np.array([[0.4, -0.1, 0.2], [-0.1, 0.9, 0.0], [0.2, 0.0, 0.6]])
MEAN = np.array([0.5, -1.0, 0.2])


@pytest.mark.parametrize(
    ("cov_a", "cov_b"),
    [
        (COV_A, COV_B),
        (np.diag(COV_A), np.diag(COV_B)),
        (np.array(0.5), np.array(2.0)),
        (np.diag(COV_A), COV_B),
    ],
)
def test_gaussian_closed_form_by_matrix_roots(x64, cov_a, cov_b):
    full = [c * np.eye(3) if c.ndim < 2 else c for c in (cov_a, cov_b)]
    root = scipy.linalg.sqrtm(full[0])
    spread = np.trace(full[0] + full[1] - 2 * scipy.linalg.sqrtm(root @ full[1] @ root)).real
    arrays = jnp.asarray(MEAN), jnp.asarray(cov_a), jnp.zeros(3), jnp.asarray(cov_b)
    ours = jax.jit(gaussian_wasserstein)(*arrays)
    np.testing.assert_allclose(ours, np.sqrt(MEAN @ MEAN + spread), rtol=1e-10)
    host = frechet_distance(MEAN, full[0], np.zeros(3), full[1])
    np.testing.assert_allclose(ours**2, host, rtol=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_gradients_at_equal_sets_are_0(key, p):
    """There the distance has its minimum."""
    points = jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32)
    ones, line = jnp.ones(6), points[:, 0]
    for distance, x in (
        (lambda x: wasserstein_1d(x, line, p), line),
        (lambda x: wasserstein_1d(x, line, p, ones, ones), line),
        (lambda x: assignment_wasserstein(x, points, p), points),
        (lambda x: sliced_wasserstein(key, x, points, 4, p), points),
        (lambda x: max_sliced_wasserstein(key, x, points, 4, 3, p), points),
    ):
        np.testing.assert_array_equal(jax.grad(distance)(x), jnp.zeros_like(x))


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(
    "mass", [[0.5, 0.3, 0.0], [0.0, 0.3, 0.45], [0.4, 0.0, 0.7], [0.0, 0.0, 1.0], [0.2, 0.5, 0.3]]
)
def test_masses_have_the_gradient_of_differences_also_at_0(mass, p, x64):
    a, b = np.array([0.3, 1.1, 2.4]), np.array([0.5, 1.45, 3.0, -0.2])
    beside, step = np.array([0.13, 0.24, 0.29, 0.34]), 1e-7

    def exact(mass):
        """The north-west corner rule moves mass in order, which is optimal on a line."""
        left, right, cost = mass[np.argsort(a)] / mass.sum(), beside[np.argsort(b)].copy(), 0.0
        for i, x in enumerate(np.sort(a)):
            for j, y in enumerate(np.sort(b)):
                moved = min(left[i], right[j])
                left[i], right[j], cost = (
                    left[i] - moved,
                    right[j] - moved,
                    cost + moved * abs(x - y) ** p,
                )
        return cost ** (1 / p)

    mass = np.array(mass)
    slope = jax.grad(lambda w: wasserstein_1d(a, b, p, w, beside))(jnp.asarray(mass))
    wanted = [(exact(mass + step * row) - exact(mass)) / step for row in np.eye(3)]
    np.testing.assert_allclose(slope, wanted, atol=1e-5)


def test_max_sliced_has_the_gradient_of_its_direction(key):
    """Of a shift, the distance |m - m'|: along it, shared among the points."""
    a = jnp.asarray(RNG.normal(size=(8, 2)), jnp.float32)
    shift = jnp.asarray([3.0, 4.0])
    slope = jax.grad(lambda a: max_sliced_wasserstein(key, a, a - shift, 32, 100))
    total = jax.grad(lambda move: max_sliced_wasserstein(key, a + move, a - shift, 32, 100))
    np.testing.assert_allclose(total(jnp.zeros(2)), shift / 5, atol=1e-3)
    np.testing.assert_allclose(slope(a), 0, atol=1e-3)


@pytest.mark.parametrize("shape", [(), (2,), (2, 2)])
def test_gaussian_closed_form_at_a_covariance_of_0(shape):
    """The distance of two points, or of a point from a law; its gradients are finite."""
    mean, none = jnp.zeros(2), jnp.zeros(shape)
    wide = jnp.full(shape, 4.0) if len(shape) < 2 else 4 * jnp.eye(2)
    value = jax.jit(jax.value_and_grad(gaussian_wasserstein, (0, 1, 2, 3)))
    for other, distance in ((none, 5.0), (wide, np.sqrt(25 + 8))):
        found, slopes = value(mean, none, jnp.array([3.0, 4.0]), other)
        np.testing.assert_allclose(found, distance, rtol=1e-6)
        assert all(np.isfinite(slope).all() for slope in slopes)
        assert not np.any(slopes[1])
    assert all(np.isfinite(slope).all() for slope in value(mean, none, mean, none)[1])


def test_gaussian_closed_form_is_the_distance_of_transported_points(x64):
    """Along the optimal linear map the pairing is its own best assignment, at any set of points."""
    root = scipy.linalg.sqrtm(COV_A).real
    inner = scipy.linalg.sqrtm(root @ COV_B @ root).real
    carry = np.linalg.solve(root, inner) @ np.linalg.inv(root)
    z = RNG.normal(size=(60, 3))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T
    a = z @ np.linalg.cholesky(COV_A).T  # moments exactly (0, COV_A)
    ours = assignment_wasserstein(a, a @ carry.T + MEAN, p=2)
    arrays = jnp.zeros(3), jnp.asarray(COV_A), jnp.asarray(MEAN), jnp.asarray(COV_B)
    np.testing.assert_allclose(ours, gaussian_wasserstein(*arrays), rtol=1e-9)


def test_max_sliced_finds_the_shift_that_slices_average_away(key):
    a, shift = RNG.normal(size=(100, 8)), np.eye(8)[3] * 2
    largest = max_sliced_wasserstein(key, a, a + shift)
    np.testing.assert_allclose(largest, 2.0, rtol=1e-3)
    mean = sliced_wasserstein(key, a, a + shift)
    np.testing.assert_allclose(mean, 2 / np.sqrt(8), rtol=0.3)


def test_max_sliced_lies_between_its_bounds(key):
    """Not below the best random direction, not above the distance in space."""
    a, b = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 3)) @ np.diag([1.0, 3.0, 0.3]) + 0.2
    random_best = max_sliced_wasserstein(key, a, b, steps=0)
    ours = max_sliced_wasserstein(key, a, b)
    assert random_best <= ours <= assignment_wasserstein(a, b, 2)
    angles = RNG.normal(size=(4000, 3))
    angles /= np.linalg.norm(angles, axis=1, keepdims=True)
    gaps = np.sort(a @ angles.T, 0) - np.sort(b @ angles.T, 0)
    dense = np.sqrt((gaps**2).mean(0)).max()
    assert ours > 0.999 * dense


A, B = (RNG.normal(size=(9, 3)).astype(np.float32) + shift for shift in (0, 1))
MASS = RNG.uniform(0.1, 1, size=9)


def distances64(p):
    return (np.abs(A[:, None].astype(np.float64) - B) ** 2).sum(-1) ** (p / 2)


def matched64(p):
    cost = distances64(p)
    return cost[linear_sum_assignment(cost)].mean() ** (1 / p)


def sorted64(p):
    return np.mean(np.abs(np.sort(A[:, 0].astype(np.float64)) - np.sort(B[:, 0])) ** p) ** (1 / p)


OF_UNITS = {
    "wasserstein_1d": (lambda a, b, u: wasserstein_1d(a[:, 0], b[:, 0], 3), lambda: sorted64(3), 1),
    "wasserstein_1d with masses": (
        lambda a, b, u: wasserstein_1d(a[:, 0], b[:, 0], 1, MASS, MASS[::-1]),
        lambda: scipy.stats.wasserstein_distance(A[:, 0], B[:, 0], MASS, MASS[::-1]),
        1,
    ),
    "distance_cost": (lambda a, b, u: distance_cost(a, b, 1), lambda: distances64(1), 1),
    "distance_cost of p = 1.2": (
        lambda a, b, u: distance_cost(a, b, 1.2),
        lambda: distances64(1.2),
        1.2,
    ),
    "assignment_wasserstein": (
        lambda a, b, u: assignment_wasserstein(a, b, 2),
        lambda: matched64(2),
        1,
    ),
    # On a line every direction is the one, up to its sign.
    "max_sliced_wasserstein": (
        lambda a, b, u: max_sliced_wasserstein(KEY, a[:, :1], b[:, :1], 2, 3),
        lambda: sorted64(2),
        1,
    ),
    "sliced_wasserstein": (
        lambda a, b, u: sliced_wasserstein(KEY, a[:, :1], b[:, :1]),
        lambda: sorted64(2),
        1,
    ),
    # Of two points the entropic cost at any epsilon is their distance.
    "sinkhorn_divergence": (
        lambda a, b, u: sinkhorn_divergence(a[:1], b[:1], 0.3 * u, 1),
        lambda: distances64(1)[0, 0],
        1,
    ),
    "gaussian_wasserstein": (
        lambda a, b, u: gaussian_wasserstein(a[0], jnp.zeros(3), b[0], jnp.zeros(3)),
        lambda: distances64(1)[0, 0],
        1,
    ),
}
KEY = jax.random.key(0)


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("name", OF_UNITS)
def test_a_distance_that_float32_holds_is_found_in_any_unit(name, unit):
    """Although the squares of such numbers overflow, or vanish."""
    function, truth, power = OF_UNITS[name]
    a, b = (np.float32(unit) * x for x in (A, B))
    for kind in (np.asarray, jnp.asarray):
        found = np.asarray(function(kind(a), kind(b), unit), np.float64)
        scale = unit**power
        if scale < np.finfo(np.float32).tiny:
            assert np.all((found >= 0) & (found <= np.finfo(np.float32).tiny))
        else:
            np.testing.assert_allclose(found / scale, truth(), rtol=3e-6)


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_couplings_do_not_depend_on_the_unit(unit):
    a, b = (jnp.asarray(np.float32(unit) * x) for x in (A, B))
    rows, columns = linear_sum_assignment(distances64(2))
    np.testing.assert_array_equal(COUPLINGS["optimal_assignment"](KEY, a, b), columns[rows])
    plan, usual = sinkhorn_log_plan(a, b), sinkhorn_log_plan(jnp.asarray(A), jnp.asarray(B))
    np.testing.assert_allclose(np.exp(plan), np.exp(usual), atol=1e-4)


def test_what_float32_does_not_hold_is_infinite():
    a, b = np.float32(1e25) * A, np.float32(1e25) * B
    assert np.isinf(distance_cost(a, b, 2)).all()
    assert (np.diag(distance_cost(a, a, 2)) == 0).all()


def test_sinkhorn_divergence_between_its_limits(x64):
    a, b = RNG.normal(size=(40, 2)), 0.7 * RNG.normal(size=(40, 2)) + 1
    options = {"tolerance": 1e-6, "max_iterations": 20_000}
    exact = assignment_wasserstein(a, b, 2) ** 2
    small = sinkhorn_divergence(a, b, 0.01, **options)
    np.testing.assert_allclose(small, exact, rtol=0.02)
    large = sinkhorn_divergence(a, b, 1e5, **options)
    np.testing.assert_allclose(large, ((a.mean(0) - b.mean(0)) ** 2).sum(), rtol=1e-3)
    distances = lambda x, y: np.linalg.norm(x[:, None] - y, axis=-1).mean()
    energy = distances(a, b) - distances(a, a) / 2 - distances(b, b) / 2
    np.testing.assert_allclose(sinkhorn_divergence(a, b, 1e5, 1.0, **options), energy, rtol=1e-3)
    np.testing.assert_allclose(sinkhorn_divergence(a, a, 0.1, **options), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wasserstein_1d(np.ones(2), np.ones(2), 0.5), "p=0.5"),
        (lambda: wasserstein_1d(np.ones(2), np.ones(2), 1, np.ones(3)), "weights_a has shape"),
        (lambda: wasserstein_1d(np.ones((2, 2)), np.ones(2)), "a has shape"),
        (lambda: assignment_wasserstein(np.ones((3, 1)), np.ones((2, 1))), "3 and 2 points"),
        (lambda: distance_cost(np.ones((3, 1)), np.ones((3, 2))), "dimensions"),
        (lambda: sinkhorn_divergence(np.ones((3, 1)), np.ones((3, 1)), 0.0), "epsilon=0.0"),
        (lambda: max_sliced_wasserstein(jax.random.key(0), np.ones((3, 2)), np.ones(3)), "b has"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
