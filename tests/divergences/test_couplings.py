import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from gen_jax.divergences import COUPLINGS, couplings
from gen_jax.errors import ConfigError


def batches(key, n=40, shape=(3,), shift=1.0):
    key_0, key_1 = jax.random.split(key)
    x1 = shift + 0.7 * jax.random.normal(key_1, (n, *shape))
    return jax.random.normal(key_0, (n, *shape)), x1


def exact_cost(x0, x1):
    """Mean squared distance of the best pairing, by SciPy in float64."""
    x0, x1 = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (x0, x1))
    cost = ((x0[:, None] - x1[None]) ** 2).sum(-1)
    return cost[linear_sum_assignment(cost)].mean()


def pairing_cost(x0, x1, index):
    difference = np.asarray(x0, np.float64) - np.asarray(x1, np.float64)[np.asarray(index)]
    return (difference**2).sum(axis=tuple(range(1, difference.ndim))).mean()


@pytest.mark.parametrize("name", COUPLINGS)
def test_indices_are_valid_jitted_and_traced_once(name, key, count_traces):
    coupling = count_traces(COUPLINGS[name])
    compiled = jax.jit(coupling)
    for i in range(3):
        x0, x1 = batches(jax.random.fold_in(key, i))
        index = compiled(key, x0, x1)
        assert index.shape == (40,)
        assert jnp.issubdtype(index.dtype, jnp.integer)
        assert ((index >= 0) & (index < 40)).all()
        if name != "sinkhorn":
            assert sorted(np.asarray(index)) == list(range(40))
    assert coupling.calls == 1


@pytest.mark.parametrize("shape", [(), (1,), (3,), (8, 8, 3)])
@pytest.mark.parametrize("n", [1, 2, 64])
def test_assignment_is_optimal(key, shape, n):
    x0, x1 = batches(key, n, shape)
    index = couplings.optimal_assignment(key, x0, x1)
    assert sorted(np.asarray(index)) == list(range(n))
    np.testing.assert_allclose(pairing_cost(x0, x1, index), exact_cost(x0, x1), rtol=1e-5)


def test_assignment_on_the_line_sorts(x64, key):
    x0, x1 = batches(key, 50, ())
    index = couplings.optimal_assignment(key, x0, x1)
    np.testing.assert_array_equal(jnp.argsort(x1[index]), jnp.argsort(x0))


def test_assignment_survives_a_large_common_offset(key):
    x0, x1 = batches(key, 64, (2,))
    index = couplings.optimal_assignment(key, x0 + 1000, x1 + 1000)
    np.testing.assert_allclose(pairing_cost(x0, x1, index), exact_cost(x0, x1), rtol=1e-4)


def test_assignment_of_pixels_and_of_non_finite_data_is_a_permutation(key):
    pixels = jax.random.randint(key, (16, 4, 4, 1), 0, 256).astype(jnp.uint8)
    index = couplings.optimal_assignment(key, pixels, pixels[::-1])
    np.testing.assert_array_equal(index, jnp.arange(16)[::-1])
    x0, x1 = batches(key, 16)
    for bad in (jnp.nan, jnp.inf):
        index = couplings.optimal_assignment(key, x0.at[3, 0].set(bad), x1)
        assert sorted(np.asarray(index)) == list(range(16))


def test_assignment_of_gaussians_approaches_wasserstein(key):
    # On the line W2^2 of N(0, 1) and N(1, 0.49) is 1 + 0.3^2. Over 4,000 seeds
    # (NumPy, by sorting) 512 points give 1.098 with standard deviation 0.110; five of them is 0.55.
    x0, x1 = batches(key, 512, ())
    index = couplings.optimal_assignment(key, x0, x1)
    assert abs(pairing_cost(x0, x1, index) - 1.098) < 0.55
    assert pairing_cost(x0, x1, jnp.arange(512)) > 2.0  # independent: 1 + 1 + 0.49


def test_planted_bug_the_inverse_permutation_costs_more(key):
    x0, x1 = batches(key)
    index = couplings.optimal_assignment(key, x0, x1)
    assert pairing_cost(x0, x1, jnp.argsort(index)) > 1.2 * exact_cost(x0, x1)


def test_paired_keeps_and_independent_shuffles(key):
    x0, x1 = batches(key)
    np.testing.assert_array_equal(couplings.paired(key, x0, x1), jnp.arange(40))
    first = couplings.independent(key, x0, x1)
    second = couplings.independent(jax.random.fold_in(key, 1), x0, x1)
    assert not np.array_equal(first, second)


def test_sinkhorn_marginals(key):
    x0, x1 = batches(key, 50)
    plan = jnp.exp(couplings.sinkhorn_log_plan(x0, x1[:30]))
    assert plan.shape == (50, 30)
    np.testing.assert_allclose(plan.sum(1), 1 / 50, rtol=1e-5)
    np.testing.assert_allclose(plan.sum(0), 1 / 30, rtol=1e-2)


def test_sinkhorn_meets_the_optimality_condition(x64, key):
    # At the optimum log P + C / e is a row term plus a column term: no double differences.
    x0, x1 = batches(key, 20)
    log_plan = couplings.sinkhorn_log_plan(x0, x1, epsilon=0.2, iterations=500)
    cost = ((np.asarray(x0)[:, None] - np.asarray(x1)[None]) ** 2).sum(-1)
    potential = np.asarray(log_plan) + cost / (0.2 * cost.mean())
    double = potential - potential[:1] - potential[:, :1] + potential[0, 0]
    np.testing.assert_allclose(double, 0, atol=1e-10)
    np.testing.assert_allclose(np.exp(log_plan).sum(0), 1 / 20, rtol=1e-8)


def test_sinkhorn_cost_falls_to_the_exact_one(x64, key):
    x0, x1 = batches(key, 32)
    cost = ((np.asarray(x0)[:, None] - np.asarray(x1)[None]) ** 2).sum(-1)
    costs = []
    for epsilon, iterations in ((10.0, 50), (0.1, 1000), (0.01, 4000), (0.002, 20_000)):
        plan = jnp.exp(couplings.sinkhorn_log_plan(x0, x1, epsilon=epsilon, iterations=iterations))
        costs.append(float((plan * cost).sum()))
    assert costs == sorted(costs, reverse=True)
    np.testing.assert_allclose(costs[0], cost.mean(), rtol=0.05)  # large epsilon: independent
    np.testing.assert_allclose(costs[-1], exact_cost(x0, x1), rtol=2e-3)


def test_sinkhorn_draws_follow_the_plan(key):
    # Chi-square over the 36 cells of 6 rows, 20,000 pairings: false alarm 5e-7.
    from scipy.stats import chi2

    x0, x1 = batches(key, 6)
    plan = jax.nn.softmax(couplings.sinkhorn_log_plan(x0, x1, epsilon=1.0), axis=1)
    draw = jax.vmap(lambda key: couplings.sinkhorn(key, x0, x1, epsilon=1.0))
    index = draw(jax.random.split(key, 20_000))
    observed = np.asarray(jax.nn.one_hot(index, 6).sum(0))
    expected = 20_000 * np.asarray(plan)
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, 6 * 5) > 5e-7
    assert chi2.sf(((observed - expected.T) ** 2 / expected.T).sum(), 30) < 5e-7  # planted


def test_sinkhorn_of_equal_points_is_uniform():
    x = jnp.ones((4, 2))
    np.testing.assert_allclose(jnp.exp(couplings.sinkhorn_log_plan(x, x)), 1 / 16, rtol=1e-5)


@pytest.mark.parametrize("name", COUPLINGS)
def test_couplings_pass_no_gradient_and_do_not_fail_under_grad(name, key):
    x0, x1 = batches(key, 8)
    loss = lambda x0: ((x0 - x1[COUPLINGS[name](key, x0, x1)]) ** 2).sum()
    index = COUPLINGS[name](key, x0, x1)
    np.testing.assert_allclose(jax.grad(loss)(x0), 2 * (x0 - x1[index]), rtol=1e-5)


@pytest.mark.parametrize("name", COUPLINGS)
def test_unequal_batches_are_refused(name, key):
    x0, x1 = batches(key, 8)
    with pytest.raises(ConfigError, match="x1 has 7 examples, allowed: as many as x0"):
        COUPLINGS[name](key, x0, x1[:7])


@pytest.mark.parametrize(
    ("option", "message"),
    [({"epsilon": 0.0}, "epsilon=0.0 must be"), ({"iterations": 0}, "iterations=0 must be")],
)
def test_bad_sinkhorn_options_are_refused(option, message, key):
    with pytest.raises(ConfigError, match=message):
        couplings.sinkhorn(key, *batches(key, 4), **option)


def test_different_shapes_are_refused(key):
    with pytest.raises(ConfigError, match="x1 has shape"):
        couplings.optimal_assignment(key, jnp.ones((4, 2)), jnp.ones((4, 3)))
