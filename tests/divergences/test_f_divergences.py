"""Every f-divergence by every route: generators, sums, quadrature, Monte Carlo, Gaussians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm

from gen_jax.divergences import (
    DISCRETE,
    F_DIVERGENCES,
    closed_form,
    discrete,
    f_divergence,
    monte_carlo,
)
from gen_jax.divergences.quadrature import integrate, quadrature
from gen_jax.errors import ConfigError
from gen_jax.sampling import gaussian

NAMES = list(F_DIVERGENCES)
ADJOINT = {
    "kl": "reverse_kl",
    "reverse_kl": "kl",
    "chi_square": "neyman_chi_square",
    "neyman_chi_square": "chi_square",
}
U = np.geomspace(1e-3, 1e3, 41)
Z = 5.03
"""Standard errors that chance exceeds with probability 5e-7."""


@pytest.mark.parametrize("name", NAMES)
def test_generators_are_convex_with_the_derivative_and_adjoint_stated(x64, name):
    row = F_DIVERGENCES[name]
    u = jnp.asarray(U[U != 1])
    np.testing.assert_allclose(row.generator(jnp.ones(1)), 0, atol=1e-15)
    slope = jax.vmap(jax.grad(row.generator))(u)
    np.testing.assert_allclose(row.derivative(u), slope, rtol=1e-8, atol=1e-10)
    assert (np.diff(slope) >= -1e-12).all()
    adjoint = row.adjoint_of_log(jnp.log(u))
    np.testing.assert_allclose(adjoint, u * row.generator(1 / u), rtol=1e-9, atol=1e-12)
    other = F_DIVERGENCES[ADJOINT.get(name, name)]
    np.testing.assert_allclose(adjoint, other.generator(u), rtol=1e-12)
    limit = row.generator(jnp.zeros(1))[0]
    near = row.generator(jnp.full(1, 1e-12))[0]
    assert np.isposinf(limit) if near > 20 else np.isclose(limit, near, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_conjugates_by_brute_force(x64, name):
    """f*(t) = sup of u t - f(u) over a grid; where the supremum runs away f* is infinite."""
    row = F_DIVERGENCES[name]
    u = np.concatenate([[0.0], np.geomspace(1e-8, 1e8, 400_001)])
    values = np.asarray(row.generator(jnp.asarray(u)))
    for t in (-5.0, -2.1, -1.0, -0.49, -0.1, 0.0, 0.2, 0.34, 0.45, 0.7, 0.9, 1.0, 1.5, 3.0):
        ours = float(row.conjugate(jnp.array(t)))
        brute = np.max(u * t - values)
        assert brute > 15 if np.isposinf(ours) else np.isclose(ours, brute, atol=1e-6), t


@pytest.mark.parametrize("name", NAMES)
def test_fenchel_young_holds_with_equality_at_the_derivative(x64, name):
    row = F_DIVERGENCES[name]
    u = jnp.asarray(U)
    t = row.derivative(u)
    np.testing.assert_allclose(row.conjugate(t), u * t - row.generator(u), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_activations_rise_into_the_domain_and_stay_finite(x64, name):
    row = F_DIVERGENCES[name]
    v = jnp.linspace(-8, 8, 65)
    t = row.activation(v)
    assert (np.diff(t) > 0).all()
    np.testing.assert_allclose(row.conjugate_activation(v), row.conjugate(t), rtol=1e-7, atol=1e-9)
    assert np.isfinite(row.conjugate_activation(v)).all()
    far = jnp.array([-40.0, 40.0], jnp.float32)  # where the two steps one by one overflow
    assert np.isfinite(row.conjugate_activation(far)).all()
    assert np.isfinite(jax.vmap(jax.grad(row.conjugate_activation))(far)).all()


P = np.array([[0.2, 0.3, 0.5, 0.0], [0.1, 0.6, 0.1, 0.2]])
Q = np.array([[0.4, 0.1, 0.5, 0.0], [0.3, 0.3, 0.3, 0.1]])
BY_SCIPY = {
    "kl": lambda p, q: scipy.special.rel_entr(p, q).sum(-1),
    "reverse_kl": lambda p, q: scipy.special.rel_entr(q, p).sum(-1),
    "jensen_shannon": lambda p, q: jensenshannon(p, q, axis=-1) ** 2,
    "total_variation": lambda p, q: np.maximum(p - q, 0).sum(-1),
    "squared_hellinger": lambda p, q: 1 - np.sqrt(p * q).sum(-1),
    "chi_square": lambda p, q: (p**2 / np.where(q > 0, q, 1)).sum(-1) - 1,
    "neyman_chi_square": lambda p, q: (q**2 / np.where(p > 0, p, 1)).sum(-1) - 1,
}


def test_every_divergence_has_a_discrete_form_and_a_reference():
    assert set(NAMES) == set(DISCRETE) == set(BY_SCIPY)


@pytest.mark.parametrize("name", NAMES)
def test_discrete_forms(x64, name):
    """Against SciPy or another formula, and by the generator; both safe at 0 log 0."""
    p, q = jnp.asarray(P), jnp.asarray(Q)
    truth = BY_SCIPY[name](P, Q)
    np.testing.assert_allclose(DISCRETE[name](p, q), truth, rtol=1e-12)
    np.testing.assert_allclose(discrete.discrete(name, p, q), truth, rtol=1e-12)
    np.testing.assert_allclose(DISCRETE[name](p, p), 0, atol=1e-15)
    assert np.isfinite(jax.grad(lambda p: DISCRETE[name](p, q[1]))(p[1])).all()


@pytest.mark.parametrize("name", NAMES)
def test_disjoint_laws_have_the_largest_divergence(name):
    p, q = jnp.array([0.5, 0.5, 0.0]), jnp.array([0.0, 0.0, 1.0])
    largest = {"jensen_shannon": np.log(2), "total_variation": 1.0, "squared_hellinger": 1.0}
    for value in (DISCRETE[name](p, q), discrete.discrete(name, p, q)):
        np.testing.assert_allclose(value, largest.get(name, np.inf), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_right_where_ratios_underflow_or_are_one(name):
    """In log p and log q, against f' and f - u f'; a ratio of e^-200 is 0 in float32."""
    row = F_DIVERGENCES[name]
    log_q = jnp.zeros(4)
    log_p = jnp.array([-200.0, -1.0, 0.0, 1.0])
    total = lambda log_p, log_q: f_divergence.perspective(name, log_p, log_q).sum()
    by_p, by_q = jax.grad(total, (0, 1))(log_p, log_q)
    assert np.isfinite(by_p).all() or name == "neyman_chi_square"  # e^200 is too large itself
    u = jnp.exp(log_p)[1:]
    slope = row.derivative(u)
    if name != "total_variation":  # any slope between -1/2 and 1/2 will do at its kink
        np.testing.assert_allclose(by_p[1:], u * slope, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_q[1:], row.generator(u) - u * slope, rtol=1e-5, atol=1e-6)
    both_empty = jax.grad(total, (0, 1))(jnp.full(1, -jnp.inf), jnp.full(1, -jnp.inf))
    np.testing.assert_array_equal(both_empty, 0)


BOTH = {"sum": lambda name: DISCRETE[name], "generator": lambda n: partial(discrete.discrete, n)}


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_where_softmax_underflows_are_those_of_float64(form, name):
    """e^-200 is 0 in float32 and not in float64."""
    divergence, third = BOTH[form](name), jnp.full(3, 1 / 3)

    def slopes(dtype):
        logits, q = jnp.array([0.0, 1.0, -200.0], dtype), third.astype(dtype)
        first = lambda logits: divergence(jax.nn.softmax(logits), q)
        second = lambda logits: divergence(q, jax.nn.softmax(logits))
        return [jax.value_and_grad(f)(logits) for f in (first, second)]

    with jax.enable_x64(True):
        fine = slopes(jnp.float64)
    for (value, slope), (_, truth) in zip(slopes(jnp.float32), fine):
        assert np.isfinite(slope).all()
        if np.isfinite(value):
            np.testing.assert_allclose(slope, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_at_zeros_are_one_sided_derivatives_or_0(x64, form, name):
    """Of one term, by difference quotients; where these or the value run away, 0."""
    divergence = BOTH[form](name)
    term = jax.jit(jax.value_and_grad(lambda pair: divergence(pair[:1], pair[1:])))
    for pair in (jnp.array([0.0, 0.3]), jnp.array([0.6, 0.0])):
        value, slope = term(pair)
        empty = int(pair[1] == 0)
        quotients = [(term(pair.at[empty].set(h))[0] - value) / h for h in (1e-9, 1e-11)]
        exists = np.isfinite(value) and np.isclose(*quotients, rtol=1e-2)
        np.testing.assert_allclose(slope[empty], quotients[1] if exists else 0, rtol=1e-3)
        assert np.isfinite(slope).all()
    np.testing.assert_array_equal(term(jnp.zeros(2))[1], 0)


def test_erratum_jensen_shannon_is_not_jeffreys(x64):
    """S0's eq. 18 is Jeffreys' divergence, which has no bound; JS is at most log 2."""
    p, q = jnp.array([1 - 1e-9, 1e-9]), jnp.array([1e-9, 1 - 1e-9])
    assert discrete.jeffreys(p, q) > 20
    assert np.log(2) - 1e-6 < discrete.jensen_shannon(p, q) < np.log(2)


MEAN_P, STD_P, MEAN_Q, STD_Q = 0.3, 0.8, -0.4, 1.0


def line(mean, std):
    return lambda x: gaussian.log_prob(x, jnp.array([mean]), jnp.array(std**2))


LOG_P, LOG_Q = line(MEAN_P, STD_P), line(MEAN_Q, STD_Q)


@pytest.fixture(scope="module")
def on_the_line():
    """Every divergence of the two Gaussians, by the trapezoid rule in NumPy, float64."""
    x = np.linspace(-25, 25, 2_000_001)
    p, q = norm.pdf(x, MEAN_P, STD_P), norm.pdf(x, MEAN_Q, STD_Q)
    with np.errstate(all="ignore"):
        terms = {
            "kl": p * (norm.logpdf(x, MEAN_P, STD_P) - norm.logpdf(x, MEAN_Q, STD_Q)),
            "reverse_kl": q * (norm.logpdf(x, MEAN_Q, STD_Q) - norm.logpdf(x, MEAN_P, STD_P)),
            "jensen_shannon": (
                scipy.special.rel_entr(p, (p + q) / 2) + scipy.special.rel_entr(q, (p + q) / 2)
            )
            / 2,
            "total_variation": np.abs(p - q) / 2,
            "squared_hellinger": (np.sqrt(p) - np.sqrt(q)) ** 2 / 2,
            "chi_square": np.where(q > 0, (p - q) ** 2 / q, 0),
        }
    return {name: np.trapezoid(values, x) for name, values in terms.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "neyman_chi_square"])
def test_quadrature_on_the_line(x64, on_the_line, name):
    value = quadrature(name, LOG_P, LOG_Q, [-12.0], [12.0], 4001)
    np.testing.assert_allclose(value, on_the_line[name], rtol=2e-5)  # total variation has kinks


def test_neyman_is_infinite_where_the_tails_say_so(x64):
    """Only the second q is more than sqrt 2 wider than p: its integral runs away."""
    finite = quadrature("neyman_chi_square", LOG_P, LOG_Q, [-12.0], [12.0], 4001)
    arrays = [jnp.array([MEAN_P]), jnp.array(STD_P**2), jnp.array([MEAN_Q]), jnp.array(STD_Q**2)]
    reverse = closed_form.gaussian_chi_square(*arrays[2:], *arrays[:2])
    np.testing.assert_allclose(finite, reverse, rtol=1e-8)
    wide = line(MEAN_Q, 1.5)
    far = [quadrature("neyman_chi_square", LOG_P, wide, [-w], [w], 4001) for w in (9.0, 12.0)]
    assert far[1] > 100 * far[0]
    assert np.isposinf(closed_form.gaussian_chi_square(arrays[2], jnp.array(1.5**2), *arrays[:2]))


def log_ratios(key, n):
    key_p, key_q = jax.random.split(key)
    x_p = MEAN_P + STD_P * jax.random.normal(key_p, (n, 1))
    x_q = MEAN_Q + STD_Q * jax.random.normal(key_q, (n, 1))
    return LOG_P(x_p) - LOG_Q(x_p), LOG_P(x_q) - LOG_Q(x_q)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "neyman_chi_square"])
def test_monte_carlo_within_its_standard_error(name, key, on_the_line):
    """100,000 draws; false alarm 5e-7 each. Under p the wider q makes heavy tails: KL alone."""
    at_p, at_q = log_ratios(key, 100_000)
    truth = on_the_line[name]
    estimates = [monte_carlo.from_both(name, at_p, at_q), monte_carlo.from_q(name, at_q)]
    if name == "kl":
        estimates.append(monte_carlo.from_p(name, at_p))
    for value, error in estimates:
        assert abs(value - truth) < Z * error
        assert abs(2 * value - truth) > Z * error  # planted: the other common scale
    swapped, error = monte_carlo.from_both(name, -at_p, -at_q)
    if name in ("kl", "reverse_kl", "chi_square"):
        assert abs(swapped - truth) > Z * error  # planted: q / p for p / q


def test_the_stated_standard_error_is_the_scatter(key):
    estimate = jax.vmap(lambda key: monte_carlo.from_both("jensen_shannon", *log_ratios(key, 500)))(
        jax.random.split(key, 500)
    )
    scatter, stated = np.std(estimate.value), np.mean(estimate.error)
    np.testing.assert_allclose(scatter, stated, rtol=0.16)  # five standard errors of 500 sets


COV_P = np.array([[0.6, 0.2], [0.2, 0.4]])
COV_Q = np.array([[0.8, -0.1], [-0.1, 0.5]])
SHIFT = np.array([0.4, -0.3])
CLOSED = {
    "kl": closed_form.gaussian_kl,
    "reverse_kl": closed_form.gaussian_reverse_kl,
    "squared_hellinger": closed_form.gaussian_squared_hellinger,
    "chi_square": closed_form.gaussian_chi_square,
}
KINDS = {
    "full": (COV_P, COV_Q),
    "diagonal": (np.diag(COV_P), np.diag(COV_Q)),
    "isotropic": (np.array(0.5), np.array(0.7)),
    "mixed": (np.diag(COV_P), COV_Q),
    "isotropic and full": (np.array(0.5), COV_Q),
}


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms_of_gaussians_by_quadrature_in_the_plane(x64, kind):
    cov_p, cov_q = map(jnp.asarray, KINDS[kind])
    mean_p, mean_q = jnp.asarray(SHIFT), jnp.zeros(2)
    log_p = lambda x: gaussian.log_prob(x, mean_p, cov_p)
    log_q = lambda x: gaussian.log_prob(x, mean_q, cov_q)
    assert integrate(lambda x: jnp.exp(log_p(x)), [-9, -9], [9, 9], 151) == pytest.approx(1)
    for name, function in CLOSED.items():
        value = quadrature(name, log_p, log_q, [-9, -9], [9, 9], 301)
        ours = jax.jit(function)(mean_p, cov_p, mean_q, cov_q)
        np.testing.assert_allclose(ours, value, rtol=1e-9)
        np.testing.assert_allclose(function(mean_p, cov_p, mean_p, cov_p), 0, atol=1e-12)


def test_erratum_the_log_ratio_of_the_gaussian_kl(x64):
    """S0 prints log(|C_0| / |C_1|): then the KL of a narrow law to a wide one is negative."""
    mean, narrow, wide = jnp.zeros(1), jnp.array(0.5), jnp.array(1.0)
    ours = closed_form.gaussian_kl(mean, narrow, mean, wide)
    assert ours == pytest.approx(0.5 * (0.5 - 1 + np.log(2)))
    assert 0.5 * (0.5 - 1 - np.log(2)) < 0


def test_total_variation_of_two_gaussians_and_renyis_limits(x64):
    cov, mean_p, mean_q = jnp.asarray(COV_P), jnp.asarray(SHIFT), jnp.zeros(2)
    log_p = lambda x: gaussian.log_prob(x, mean_p, cov)
    log_q = lambda x: gaussian.log_prob(x, mean_q, cov)
    value = quadrature("total_variation", log_p, log_q, [-7, -7], [7, 7], 1401)
    ours = closed_form.gaussian_total_variation(mean_p, mean_q, cov)
    np.testing.assert_allclose(ours, value, rtol=1e-4)
    gaussians = mean_p, cov, mean_q, jnp.asarray(COV_Q)
    near_one = closed_form.gaussian_renyi(*gaussians, order=1 + 1e-6)
    np.testing.assert_allclose(near_one, closed_form.gaussian_kl(*gaussians), rtol=1e-5)
    half = closed_form.gaussian_renyi(*gaussians, order=0.5)
    hellinger = closed_form.gaussian_squared_hellinger(*gaussians)
    np.testing.assert_allclose(1 - np.exp(-half / 2), hellinger, rtol=1e-10)


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="divergence='kll' is unknown; did you mean 'kl'"):
        discrete.discrete("kll", jnp.ones(2) / 2, jnp.ones(2) / 2)
    with pytest.raises(ConfigError, match="the box has 3"):
        integrate(lambda x: x[:, 0], [0, 0, 0], [1, 1, 1])
    with pytest.raises(ConfigError, match="num=1"):
        integrate(lambda x: x[:, 0], [0], [1], 1)
    with pytest.raises(ConfigError, match="positive definite"):
        closed_form.gaussian_kl(jnp.zeros(1), jnp.array(-1.0), jnp.zeros(1), jnp.array(1.0))
    with pytest.raises(ConfigError, match="order - 1"):
        closed_form.gaussian_renyi(
            jnp.zeros(1), jnp.array(1.0), jnp.zeros(1), jnp.array(1.0), order=1.0
        )


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("name", NAMES)
def test_zeros_of_half_precision(form, name):
    p, q = np.array([1, 1, 1]) / 3, np.array([0.5, 0.5, 0.0])
    wide = BOTH[form](name)(jnp.asarray(p, jnp.float32), jnp.asarray(q, jnp.float32))
    found = BOTH[form](name)(jnp.asarray(p, jnp.float16), jnp.asarray(q, jnp.float16))
    np.testing.assert_allclose(float(found), float(wide), rtol=0.01)


def test_a_divergence_of_ones_own(x64):
    """The alpha-divergence of order 3, by its row, equals (chi^2 with p^3 / q^2 - 1) / 6."""
    own = f_divergence.FDivergence(
        generator_of_log=lambda log_u: jnp.expm1(3 * log_u) / 6,
        adjoint_of_log=lambda log_u: (jnp.exp(-2 * log_u) - jnp.exp(log_u)) / 6,
        optimal_critic=lambda log_u: jnp.exp(2 * log_u) / 2,
        conjugate=lambda t: (2 * t) ** 1.5 / 3 + 1 / 6,
        activation=jnp.exp,
        conjugate_activation=lambda v: (2 * jnp.exp(v)) ** 1.5 / 3 + 1 / 6,
    )
    p, q = jnp.asarray(P[1]), jnp.asarray(Q[1])
    expected = ((P[1] ** 3 / Q[1] ** 2).sum() - 1) / 6
    np.testing.assert_allclose(discrete.discrete(own, p, q), expected, rtol=1e-12)


def test_closed_forms_have_finite_gradients_at_equal_laws_and_where_they_are_infinite():
    finite = lambda slopes: all(np.isfinite(slope).all() for slope in slopes)
    zero, one, eye = jnp.zeros(2), jnp.ones(2), jnp.eye(2)
    equal = lambda means, shared: closed_form.gaussian_total_variation(*means, shared)
    assert finite(jax.grad(equal, (0, 1))(jnp.zeros((2, 2)), one))
    for wide in (one, eye):
        distance = jax.grad(closed_form.gaussian_wasserstein, (0, 1, 2, 3))
        slopes = distance(zero, wide, zero, wide)
        assert all((slope == 0).all() for slope in slopes)
        infinite = jax.value_and_grad(closed_form.gaussian_chi_square, (0, 1, 2, 3))
        value, slopes = infinite(zero, 3 * wide, one, wide)
        assert np.isposinf(value)
        assert finite(slopes)
