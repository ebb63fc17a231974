"""Categorical draws, mixtures, Markov chains and trees against exact enumeration."""

import itertools

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gen_jax.errors import ConfigError
from gen_jax.sampling import ancestral, categorical

FALSE_ALARM, N = 5e-7, 60_000


def chi_square_p(counts, probabilities):
    """Of counts [K] under probabilities [K]; cells of probability 0 must be empty."""
    counts, expected = np.asarray(counts, float), np.asarray(probabilities) * np.sum(counts)
    if counts[expected == 0].any():
        return 0.0
    kept = expected > 0
    statistic = np.sum((counts - expected)[kept] ** 2 / expected[kept])
    return scipy.stats.chi2.sf(statistic, kept.sum() - 1)


WEIGHTS = jnp.array([0.0, 3.0, 0.5, 0.0, 1.5, 0.0])


def test_categorical_frequencies(key):
    """60,000 draws catch a probability moved by 0.02 with probability > 0.999."""
    k = jax.jit(categorical.categorical)(jax.random.uniform(key, (N,)), WEIGHTS)
    counts = np.bincount(k, minlength=6)
    assert chi_square_p(counts, WEIGHTS / 5) > FALSE_ALARM
    planted = np.array([0, 0.58, 0.12, 0, 0.3, 0])
    assert chi_square_p(counts, planted) < FALSE_ALARM


def test_weight_zero_is_never_drawn_not_even_at_the_ends():
    u = jnp.array([0.0, 0.6, 0.7, 1.0])
    np.testing.assert_array_equal(categorical.categorical(u, WEIGHTS), [1, 2, 4, 4])
    np.testing.assert_array_equal(categorical.categorical(u, jnp.array([2.0])), 0)


def test_one_set_of_weights_for_each_uniform(key):
    u, weights = jax.random.uniform(key, (3, 5)), jax.random.uniform(key, (3, 5, 7))
    both = categorical.categorical(u, weights)
    each = [
        [int(categorical.categorical(u[i, j], weights[i, j])) for j in range(5)] for i in range(3)
    ]
    np.testing.assert_array_equal(both, each)


MIXTURE = exact.mixture_2d()


@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
def test_mixture_draws(kind, key, count_traces):
    """Given the component the draw is whitened in NumPy; components are counted."""
    covariances = {
        "isotropic": MIXTURE.covariances[:, 0, 0],
        "diagonal": jnp.diagonal(MIXTURE.covariances, axis1=1, axis2=2),
        "full": MIXTURE.covariances,
    }[kind]
    draw = count_traces(categorical.mixture)
    compiled = jax.jit(draw)
    key_u, key_z = jax.random.split(key)
    u, z = jax.random.uniform(key_u, (N,)), jax.random.normal(key_z, (N, 2))
    x, k = compiled(u, z, MIXTURE.weights, MIXTURE.means, covariances)
    compiled(u, z, MIXTURE.weights[::-1], MIXTURE.means, covariances)
    assert draw.calls == 1
    assert chi_square_p(np.bincount(k, minlength=3), MIXTURE.weights) > FALSE_ALARM
    white = []
    for component in range(3):
        full = np.asarray(covariances[component]) * (np.eye(2) if kind != "full" else 1)
        values, vectors = np.linalg.eigh(full)
        rows = np.asarray(x[k == component] - MIXTURE.means[component])
        white.append(rows @ vectors / np.sqrt(values))
    white = np.concatenate(white)
    assert exact.standard_normal_p_value(white) > FALSE_ALARM
    assert exact.standard_normal_p_value(white.sum(1) / np.sqrt(2)) > FALSE_ALARM
    assert exact.standard_normal_p_value(white * 1.05**0.5) < FALSE_ALARM


def test_a_bad_component_is_refused(key):
    bad = MIXTURE.covariances.at[1].multiply(-1)
    with pytest.raises(ConfigError, match="positive definite"):
        categorical.mixture(jnp.ones(3), jnp.ones((3, 2)), MIXTURE.weights, MIXTURE.means, bad)


INITIAL = jnp.array([0.2, 0.5, 0.3])
TRANSITION = jnp.array([[0.7, 0.3, 0.0], [0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])


def path_probabilities(initial, transition, length):
    paths = itertools.product(range(len(initial)), repeat=length)
    probability = lambda p: initial[p[0]] * np.prod(transition[p[:-1], p[1:]])
    return np.array([probability(path) for path in map(np.array, paths)])


def count_paths(x):
    return np.bincount(np.asarray(x).reshape(-1, 4) @ 3 ** np.arange(4)[::-1], minlength=81)


def test_markov_chain_paths_by_enumeration(key):
    u = jax.random.uniform(key, (2, N // 2, 4))
    x = np.asarray(jax.jit(ancestral.markov_chain)(u, INITIAL, TRANSITION))
    assert x.shape == (2, N // 2, 4)
    truth = path_probabilities(np.asarray(INITIAL), np.asarray(TRANSITION), 4)
    assert chi_square_p(count_paths(x), truth) > FALSE_ALARM
    transposed = np.asarray(TRANSITION).T / np.asarray(TRANSITION).T.sum(1, keepdims=True)
    wrong = path_probabilities(np.asarray(INITIAL), transposed, 4)
    assert chi_square_p(count_paths(x), wrong) == 0
    one_uniform = jnp.repeat(u[..., :1], 4, axis=-1)  # planted
    reused = ancestral.markov_chain(one_uniform, INITIAL, TRANSITION)
    assert chi_square_p(count_paths(reused), truth) < FALSE_ALARM


def test_a_chain_of_callables_is_autoregressive(key):
    """x_t = 0.8 x_(t-1) + 0.6 z keeps N(0, 1): any two steps are normal with correlation 0.8^k."""
    draw = lambda key: ancestral.chain(
        key, jax.random.normal, lambda key, x: 0.8 * x + 0.6 * jax.random.normal(key), 6
    )
    x = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(key, N)))
    assert x.shape == (N, 6)
    innovations = (x[:, 5] - 0.8**3 * x[:, 2]) / np.sqrt(1 - 0.8**6)
    for z in (x[:, 0], x[:, 5], innovations):
        assert exact.standard_normal_p_value(z) > FALSE_ALARM
    assert exact.standard_normal_p_value(innovations * 1.05**0.5) < FALSE_ALARM


# A tree with its variables out of order: 3 is the root of 1 and 0, 1 of 2; 4 stands alone.
PARENTS = [3, 3, 1, -1, -1]
TABLES = [
    [[0.9, 0.1], [0.2, 0.8]],
    [[0.5, 0.25, 0.25], [0.0, 0.4, 0.6]],
    [[1.0, 0.0], [0.3, 0.7], [0.6, 0.4]],
    [0.35, 0.65],
    [0.1, 0.2, 0.3, 0.4],
]
SIZES = (2, 3, 2, 2, 4)


def joint_table():
    """p [2, 3, 2, 2, 4] by the definition."""
    joint = np.zeros(SIZES)
    for x in itertools.product(*map(range, SIZES)):
        rows = [TABLES[i][x[p]] if p >= 0 else TABLES[i] for i, p in enumerate(PARENTS)]
        joint[x] = np.prod([row[x[i]] for i, row in enumerate(rows)])
    return joint


def test_tree_draws_by_enumeration(key):
    network = ancestral.tree(PARENTS, TABLES)
    u = jax.random.uniform(key, (N, 5))
    x = np.asarray(jax.jit(lambda u: ancestral.sample_tree(u, network))(u))
    counts = np.bincount(np.ravel_multi_index(x.T, SIZES), minlength=np.prod(SIZES))
    assert chi_square_p(counts, joint_table().ravel()) > FALSE_ALARM
    swapped = ancestral.tree([3, 3, 1, -1, -1], [*TABLES[:3], TABLES[3][::-1], TABLES[4]])
    x = np.asarray(ancestral.sample_tree(u, swapped))  # planted: the root's values exchanged
    counts = np.bincount(np.ravel_multi_index(x.T, SIZES), minlength=np.prod(SIZES))
    assert chi_square_p(counts, joint_table().ravel()) < FALSE_ALARM


def test_tree_marginals_and_log_prob_by_enumeration():
    network, joint = ancestral.tree(PARENTS, TABLES), joint_table()
    marginals = ancestral.tree_marginals(network)
    for i, size in enumerate(SIZES):
        truth = joint.sum(axis=tuple(set(range(5)) - {i}))
        np.testing.assert_allclose(marginals[i, :size], truth, rtol=1e-5)
        np.testing.assert_array_equal(marginals[i, size:], 0)
    x = jnp.asarray(list(itertools.product(*map(range, SIZES))))
    log_prob = ancestral.tree_log_prob(x, network)
    np.testing.assert_allclose(np.exp(log_prob), joint.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("parents", "tables", "message"),
    [
        ([1, 0], [[[1.0]], [[1.0]]], "its own ancestor"),
        ([5], [[1.0]], "unknown ancestor"),
        ([-1], [[0.5, 0.6]], "rows that are not probabilities"),
        ([-1, 0], [[0.5, 0.5], [[1.0, 0.0]]], r"table 1 has shape \(1, 2\), allowed: \(2, 2\)"),
        ([-1], [], "1 parents and 0 tables"),
    ],
)
def test_bad_trees_are_refused(parents, tables, message):
    with pytest.raises(ConfigError, match=message):
        ancestral.tree(parents, tables)
