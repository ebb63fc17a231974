"""Integers, lists, missing axes, constant data: they work as floating-point numbers would, or one
line names the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.classical import (
    Mixture,
    fit_em,
    fit_gradient,
    gaussian_image,
    kmeans,
    mixture,
    moments,
    periodic_plus_smooth,
    random_phase_noise,
    stationary_field,
    texture,
)
from gen_jax.errors import ConfigError, DataError
from gen_jax.sampling import (
    GENERATORS,
    QUANTILES,
    TARGETS,
    ancestral,
    box_muller,
    categorical,
    gaussian,
    importance,
    inverse_cdf,
    lcg,
    make_target,
)

KEY, MINSTD = jax.random.key(0), GENERATORS["minstd"]
POINTS = np.random.default_rng(0).integers(0, 9, (12, 2))
IMAGE = np.random.default_rng(1).integers(0, 255, (8, 9, 1))
LAW = Mixture(np.array([1, 1]), POINTS[:2], np.ones((2, 2), int))
TREE = ancestral.tree([-1, 0], [[0.5, 0.5], [[0.1, 0.9], [0.3, 0.7]]])
ONE_WEIGHT, NARROW = LAW._replace(weights=[1.0]), LAW._replace(covariances=np.zeros((2, 2)))
SHAPES = {name: {"shape": 2} for name in ("weibull", "pareto")}


def as_given(x):
    """NamedTuples and arrays of integers, as they are or as floats."""
    return jax.tree.map(lambda part: np.asarray(part, np.float32), x)


@pytest.mark.parametrize(
    "make",
    [
        lambda f: gaussian.sample(KEY, 3, f([0, 1]), f([2, 3])),
        lambda f: gaussian.log_prob(f(POINTS), f([0, 1]), f(np.eye(2, dtype=int))),
        lambda f: gaussian.from_normal(f(POINTS), f([0, 1]), f(4)),
        lambda f: categorical.categorical(f([0, 1]), f([1, 2, 3])),
        lambda f: categorical.mixture(f(POINTS[:, 0] % 2), f(POINTS), *map(f, LAW)),
        lambda f: ancestral.markov_chain(f([[0, 1, 1]]), f([1, 1]), f([[1, 2], [3, 1]])),
        lambda f: ancestral.sample_tree(f([[0, 1]]), TREE),
        lambda f: box_muller.box_muller(f([0, 1]), f([1, 0])),
        lambda f: importance.self_normalised_mean(f([0, 1, 2]), f([[1], [2], [3]])),
        lambda f: inverse_cdf.bisect(lambda x: x / 2, f([0, 1]), 0, 2),
        *(lambda f, n=name: QUANTILES[n](f([0, 1]), **SHAPES.get(n, {})) for name in QUANTILES),
        *(
            lambda f, n=name: make_target(n).log_density(f(np.ones((2, make_target(n).dim), int)))
            for name in TARGETS
        ),
        lambda f: mixture.log_prob(f(LAW), f(POINTS)),
        lambda f: mixture.sample(KEY, f(LAW), 3),
        lambda f: fit_em(KEY, jnp.asarray(f(POINTS)), 1, max_iterations=2).mixture,
        lambda f: gaussian_image.fit(f(POINTS)),
        lambda f: moments.add(moments.nothing(2), f(POINTS)),
        lambda f: random_phase_noise(KEY, f(IMAGE)),
        lambda f: periodic_plus_smooth(f(IMAGE)),
    ],
)
def test_integers_and_lists_are_taken_as_floats(make):
    found, wanted = make(lambda x: x), make(as_given)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
        np.testing.assert_array_equal(ours, theirs)


def test_a_shape_may_be_one_integer():
    numbers = lcg.uniform(MINSTD, 7, 5)
    np.testing.assert_array_equal(numbers, lcg.uniform(MINSTD, np.int64(7), (5,)))
    assert lcg.uniform(MINSTD, 7, ()).shape == ()
    assert random_phase_noise(KEY, IMAGE, size=9).shape == (1, 9, 9, 1)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: gaussian.sample(KEY, 3, 0.0, 1.0), r"mean has shape \(\), must be \[D\]"),
        (lambda: gaussian.sample(KEY, 3, [0, 0], np.eye(3)), "covariance has shape .* D = 2"),
        (lambda: gaussian.log_prob(1.0, [0.0], 1.0), r"x has shape \(\)"),
        (lambda: gaussian.log_prob(np.ones((4, 3)), [0, 0], 1), "mean has shape .*D = 3"),
        (lambda: gaussian.log_prob(["a"], [0], 1), "x is an array .*real numbers"),
        (lambda: categorical.categorical(0.5, [1, -1, 3]), "weights must be finite, >= 0"),
        (lambda: categorical.categorical(0.5, [0, 0]), "weights must be finite, >= 0"),
        (lambda: lcg.uniform(MINSTD, 1, (0,)), "shape=0"),
        (lambda: lcg.uniform(MINSTD, 1, 3, jnp.int32), "dtype=int32"),
        (lambda: lcg.uniform(MINSTD, jnp.array(1.5), 3), "seed=1.5"),
        (lambda: lcg.states(MINSTD, np.int64(0), 3), "seed=0"),
        (lambda: ancestral.markov_chain(0.3, [1, 1], np.eye(2)), r"u has shape \(\)"),
        (lambda: ancestral.sample_tree(np.ones((3, 5)) / 2, TREE), "u has shape .* D = 2"),
        (lambda: ancestral.tree_log_prob(jnp.ones((3, 2)), TREE), "must be integers"),
        (lambda: ancestral.tree([-1], [0.5]), r"table 0 has shape \(\)"),
        (lambda: ancestral.tree([-1, 0], [[1.0], [[0.5, 0.5], [1]]]), "table 1 must be rows"),
        (
            lambda: ancestral.chain(KEY, lambda k: jnp.zeros(2, int), lambda k, x: x + 0.5, 3),
            "transition returned",
        ),
        (lambda: inverse_cdf.tabulate(lambda x: x - jnp.inf, 0, 1, 8), "log_density has the max"),
        (lambda: inverse_cdf.tabulate(lambda x: 0.0, 0, 1, 8), "log_density returned shape"),
        (lambda: importance.importance_mean(np.zeros(3), np.ones(4)), "values .* N = 3"),
        (lambda: make_target("funnel").log_density(jnp.ones((2, 7))), "x has shape .* D = 10"),
        (lambda: make_target("ring").log_density(jnp.ones(2)), "x has shape .* D = 2"),
        (lambda: mixture.log_prob(LAW, np.ones((4, 3))), "x has shape .* D = 2"),
        (lambda: mixture.log_prob(ONE_WEIGHT, POINTS), r"mixture.means has shape .* K = 1"),
        (lambda: mixture.sample(KEY, tuple(LAW), 3), "mixture=.* must be a Mixture"),
        (lambda: fit_gradient(KEY, POINTS, 2, start=ONE_WEIGHT), r"start.means has shape .* K = 1"),
        (lambda: fit_em(KEY, POINTS, 2, start=tuple(LAW)), "start=.* must be a Mixture"),
        (lambda: fit_em(KEY, POINTS, 2, start=NARROW), "start must have .* positive definite"),
        (lambda: kmeans.start_mixture(KEY, POINTS, 0), "k=0 must be an integer"),
        (lambda: kmeans.start_mixture(KEY, POINTS, 2, "ful"), "covariance='ful' is unknown"),
        (lambda: random_phase_noise(KEY, IMAGE[..., 0]), r"image has shape \(8, 9\)"),
        (lambda: texture.spot(IMAGE[None], (8, 9)), "image has shape"),
    ],
)
def test_what_cannot_work_is_named_in_one_line(make, word):
    with pytest.raises((ConfigError, DataError), match=word) as reported:
        make()
    assert "\n" not in str(reported.value)


FIELD = stationary_field.add(stationary_field.nothing((8, 9, 1)), jnp.ones((3, 8, 9, 1)))


@pytest.mark.parametrize(
    "fit",
    [
        lambda: fit_em(KEY, jnp.ones((5, 2)), 1),
        lambda: fit_gradient(KEY, jnp.ones((5, 2)), 1, steps=1),
        lambda: gaussian_image.fit(np.ones((5, 2))),
        lambda: gaussian_image.fit(np.ones((5, 2)), rank=1),
        lambda: stationary_field.log_prob(FIELD, jnp.ones((1, 8, 9, 1))),
    ],
)
def test_constant_data_have_no_density(fit):
    with pytest.raises(DataError, match="equal|singular|without variance"):
        fit()


def test_impossible_values_of_a_tree_have_probability_0():
    x = jnp.array([[0, 1], [0, 2], [-1, 0], [5, 1]])
    log_p = ancestral.tree_log_prob(x, TREE)
    np.testing.assert_allclose(log_p[0], np.log(0.45), rtol=1e-5)
    assert np.isneginf(log_p[1:]).all()
