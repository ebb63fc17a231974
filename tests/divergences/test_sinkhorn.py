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
        ({"epsilon": 0.1, "weights_a": jnp.ones(3)}, "weights have shape"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        sinkhorn.solve(jnp.asarray(COST), **options)
