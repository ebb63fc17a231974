"""Sinkhorn's iteration against the plain one in NumPy, linear programming and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from gen_jax.divergences import sinkhorn
from gen_jax.errors import ConfigError

RNG = np.random.default_rng(0)
M, N = 12, 9
COST = RNG.exponential(size=(M, N))
A, B = (x / x.sum() for x in (RNG.uniform(0.2, 1, M), RNG.uniform(0.2, 1, N)))


def by_hand(cost, epsilon, a, b, iterations=20_000):
    """The plan by cuturi2013's own scalings in float64."""
    kernel, v = np.exp(-cost / epsilon), np.ones(len(b))
    for _ in range(iterations):
        u = a / (kernel @ v)
        v = b / (kernel.T @ u)
    return u[:, None] * kernel * v


@pytest.mark.parametrize("epsilon", [1.0, 0.05])
def test_the_plan_is_that_of_the_plain_iteration(x64, epsilon):
    cost, a, b = map(jnp.asarray, (COST, A, B))
    solution = sinkhorn.solve(cost, epsilon, a, b, tolerance=1e-12, max_iterations=20_000)
    plan = np.exp(solution.log_plan(cost, epsilon))
    np.testing.assert_allclose(plan, by_hand(COST, epsilon, A, B), rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(plan.sum(0), B, rtol=1e-12)
    assert abs(plan.sum(1) - A).sum() <= 1e-12


@pytest.mark.parametrize("epsilon", [1.0, 0.05])
@pytest.mark.parametrize("safe", [20.0, -1.0], ids=["scaling", "logarithms"])
def test_bins_without_mass_are_dropped(x64, monkeypatch, epsilon, safe):
    """The problem without them, in every part of the result and in the gradient."""
    monkeypatch.setattr(sinkhorn, "_SAFE", safe)
    rows, columns = np.arange(M) % 3 != 0, np.arange(N) > 1
    a, b = (np.where(kept, w, 0) for kept, w in ((rows, A), (columns, B)))
    a, b = a / a.sum(), b / b.sum()
    options = {"tolerance": 1e-10, "max_iterations": 5_000}
    whole = (jnp.asarray(COST), epsilon, jnp.asarray(a), jnp.asarray(b))
    few = (
        jnp.asarray(COST[rows][:, columns]),
        epsilon,
        jnp.asarray(a[rows]),
        jnp.asarray(b[columns]),
    )
    plan = np.exp(sinkhorn.solve(*whole, **options).log_plan(whole[0], epsilon))
    direct = np.exp(sinkhorn.solve(*few, **options).log_plan(few[0], epsilon))
    np.testing.assert_allclose(plan[rows][:, columns], direct, rtol=1e-9)
    assert plan[~rows].max() == 0 == plan[:, ~columns].max()
    cost = jax.jit(lambda *args: sinkhorn.entropic_cost(*args, **options))
    np.testing.assert_allclose(cost(*whole), cost(*few), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(cost)(*whole), plan, rtol=1e-9)


def test_two_masses_and_a_bin_of_0():
    """0.3 and 0.7 at 0 and 1 against 0.5 and 0.5 and 0 at 0, 1 and 5: the last bin says nothing."""
    cost = jnp.asarray([[0.0, 1, 25], [1, 0, 16]])
    a, b = jnp.asarray([0.3, 0.7]), jnp.asarray([0.5, 0.5, 0.0])
    found = sinkhorn.entropic_cost(cost, 0.01, a, b, tolerance=1e-6)
    bare = sinkhorn.entropic_cost(cost[:, :2], 0.01, a, b[:2], tolerance=1e-6)
    assert float(found) == pytest.approx(float(bare), rel=1e-5)
    assert 0.2 < float(found) < 0.21


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan, 1e30])
def test_costs_of_a_bin_without_mass_do_not_matter(wild):
    """Nor in the gradient; and lists are weights."""
    cost = jnp.asarray([[0.0, 1, 25], [1, 0, 16]])
    a, b = [0.3, 0.7], [0.5, 0.5, 0.0]
    for given, first, second in ((cost.at[:, 2].set(wild), a, b), (cost.T.at[2].set(wild), b, a)):
        value, slope = jax.value_and_grad(sinkhorn.entropic_cost)(given, 0.5, first, second)
        bare = sinkhorn.entropic_cost(cost[:, :2], 0.5, a, b[:2])
        assert float(value) == pytest.approx(float(bare), rel=1e-5)
        plan = sinkhorn.solve(given, 0.5, first, second).log_plan(given, 0.5)
        np.testing.assert_allclose(slope, np.exp(plan), atol=1e-6)
        np.testing.assert_allclose(slope.sum(1), first, atol=1e-3)


def test_masses_may_have_any_common_sum(x64):
    """The plan of masses twice as large is twice as large."""
    plan = lambda t: np.exp(
        sinkhorn.solve(jnp.asarray(COST), 0.5, t * jnp.asarray(A), t * jnp.asarray(B)).log_plan(
            jnp.asarray(COST), 0.5
        )
    )
    np.testing.assert_allclose(plan(2.0), 2 * plan(1.0), rtol=1e-2)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.full(M, 2 / M), None),
        (np.full(M, 1 / M), np.full(N, 1.01 / N)),
        (np.full(M, 0.0), np.full(N, 0.0)),
        (np.where(np.arange(M) == 0, -0.1, 1.1 / (M - 1)), None),
        (np.where(np.arange(M) == 0, np.nan, 1 / M), None),
    ],
    ids=["sum 2", "sum 1.01", "0", "negative", "nan"],
)
def test_masses_that_do_not_agree_are_refused(a, b):
    cost, a = jnp.asarray(COST), jnp.asarray(a)
    b = None if b is None else jnp.asarray(b)
    for of in (sinkhorn.solve, sinkhorn.entropic_cost):
        with pytest.raises(ConfigError, match="masses >= 0 of one positive sum"):
            of(cost, 0.5, a, b)
    assert np.isnan(jax.jit(lambda a: sinkhorn.entropic_cost(cost, 0.5, a, b))(a))


def test_scaling_and_logarithms_make_the_same_iterations(x64, monkeypatch):
    run = lambda: sinkhorn.solve(jnp.asarray(COST), 0.02, tolerance=0.0, max_iterations=57)
    scaled = run()
    monkeypatch.setattr(sinkhorn, "_SAFE", -1.0)  # never trust the scalings
    logs = run()
    assert scaled.iterations == logs.iterations == 57
    np.testing.assert_allclose(scaled.row_potential, logs.row_potential, rtol=1e-9)
    np.testing.assert_allclose(scaled.error, logs.error, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_float32_at_small_epsilon_stays_finite_and_tells_its_error(scale):
    """exp(-cost / epsilon) is 0 in float32 for nearly all entries here."""
    x, y = RNG.normal(size=(30, 1, 2)), RNG.normal(size=(1, 30, 2))
    cost = jnp.asarray(scale * ((x - y) ** 2).sum(-1), jnp.float32)
    epsilon = 1e-3 * float(cost.mean())
    solution = jax.jit(lambda cost: sinkhorn.solve(cost, epsilon, max_iterations=3000))(cost)
    plan = np.exp(np.asarray(solution.log_plan(cost, epsilon), np.float64))
    assert np.isfinite(plan).all()
    error = abs(plan.sum(1) - 1 / 30).sum()
    assert error == pytest.approx(float(solution.error), abs=2e-4)
    np.testing.assert_allclose(plan.sum(0), 1 / 30, rtol=1e-3)


def test_iterations_stop_at_the_tolerance():
    cost = jnp.asarray(COST, jnp.float32)
    counts = []
    for tolerance in (1e-1, 1e-3, 1e-5):
        solution = sinkhorn.solve(cost, 0.05, tolerance=tolerance)
        assert solution.error <= tolerance
        counts.append(int(solution.iterations))
    assert counts[0] < counts[1] < counts[2] < 2000
    assert sinkhorn.solve(cost, 0.05, tolerance=0.0, max_iterations=37).iterations == 37


def test_the_cost_falls_to_that_of_the_linear_programme(x64):
    marginals = np.concatenate([np.kron(np.eye(M), np.ones(N)), np.kron(np.ones(M), np.eye(N))])
    exact = scipy.optimize.linprog(COST.ravel(), A_eq=marginals, b_eq=np.concatenate([A, B])).fun
    options = {"tolerance": 1e-9, "max_iterations": 50_000}
    for epsilon in (1.0, 0.1, 0.002):
        arrays = map(jnp.asarray, (COST, epsilon, A, B))
        value = sinkhorn.entropic_cost(*arrays, **options)
        assert exact < value < exact + epsilon * np.log(N)  # the entropy of any plan's columns


def test_the_value_by_its_definition_and_the_gradient_by_differences(x64):
    epsilon, a, b = 0.3, jnp.asarray(A), jnp.asarray(B)
    value = lambda cost: sinkhorn.entropic_cost(
        cost, epsilon, a, b, tolerance=1e-13, max_iterations=5000
    )
    plan = by_hand(COST, epsilon, A, B)
    definition = (plan * COST).sum() + epsilon * (plan * np.log(plan / np.outer(A, B))).sum()
    np.testing.assert_allclose(value(jnp.asarray(COST)), definition, rtol=1e-10)
    gradient = jax.grad(value)(jnp.asarray(COST))
    np.testing.assert_allclose(gradient, plan, rtol=1e-8)
    bump = np.zeros((M, N))
    bump[3, 4] = 1e-5
    slope = (value(jnp.asarray(COST + bump)) - value(jnp.asarray(COST - bump))) / 2e-5
    np.testing.assert_allclose(gradient[3, 4], slope, rtol=1e-5)


def test_one_trace_serves_any_cost_and_epsilon(count_traces):
    run = count_traces(lambda cost, epsilon: sinkhorn.solve(cost, epsilon).error)
    compiled = jax.jit(run)
    for epsilon in (0.1, 0.5):
        assert compiled(jnp.asarray(COST, jnp.float32), jnp.float32(epsilon)) <= 1e-3
    assert run.calls == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"epsilon": 0.1, "tolerance": -1.0}, "tolerance=-1.0"),
        ({"epsilon": 0.1, "max_iterations": 0}, "max_iterations=0"),
        ({"epsilon": 0.1, "weights_a": jnp.ones(3)}, "weights_a has shape"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        sinkhorn.solve(jnp.asarray(COST), **options)
