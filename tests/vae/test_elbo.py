"""Bounds and estimates of log p(x) against a model with everything in closed form."""

import itertools

import jax
import jax.numpy as jnp
import linear_gaussian as exact_model
import numpy as np
import pytest
from linear_gaussian import FUNCTIONS, LIKELIHOOD, LOG_PROB, copies, decode, encode

from gen_jax import vae
from gen_jax.errors import ConfigError
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.vae.elbo import with_free_bits
from gen_jax.vae.gaussians import kl_terms, residual_kl_terms
from gen_jax.vae.iwae import log_weights
from gen_jax.vae.posterior import single

Z = 5.1
"""Two-sided false-alarm rate 3.4e-7 of a mean of thousands of terms."""


def score(values, truth):
    values = np.asarray(values, np.float64)
    return (values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))


def expanded(drawn):
    """A draw with an axis of draws in front."""
    return jax.tree.map(lambda leaf: leaf[None], drawn)


def elbo(key, functions, x, **options):
    """`vae.elbo`, called as the other bounds."""
    own = {"likelihood": functions.likelihood, "prior": functions.prior}
    return vae.elbo(key, functions.encode, functions.decode, x, **own, **options)


def bound(key, n=20_000, of=elbo, **options):
    return jax.jit(lambda key: of(key, FUNCTIONS, copies(n), **options))(key)


@pytest.mark.parametrize("kl", ["closed_form", "monte_carlo"])
def test_the_elbo_misses_log_p_by_the_gap(key, kl):
    """2e4 terms of deviation below 2 catch an error of 0.1 nats with certainty."""
    value, aux = bound(key, kl=kl, num_samples=2)
    truth = LOG_PROB - exact_model.gap()
    assert abs(score(value, truth)) < Z
    assert abs(score(value, LOG_PROB)) > Z  # planted: the gap forgotten
    assert abs(score(value, truth + 0.1)) > Z
    np.testing.assert_allclose(value, aux["elbo"], rtol=1e-5)
    np.testing.assert_allclose(aux["log_likelihood"] - aux["kl"], aux["elbo"], atol=1e-4)


def test_importance_weighted_bounds_rise_to_log_p(key):
    """L_1 = ELBO < L_2 < L_16 < L_256 ~ log p: the last within its error and 1 / K."""
    means = []
    for k, n in ((1, 40_000), (2, 40_000), (16, 10_000), (256, 1000)):
        values = np.asarray(bound(key, n, vae.iwae, num_samples=k)[0], np.float64)
        means.append((values.mean(), values.std(ddof=1) / np.sqrt(n)))
    assert abs(means[0][0] - LOG_PROB + exact_model.gap()) < Z * means[0][1]
    for (low, low_error), (high, high_error) in itertools.pairwise(means[:3]):
        assert low + Z * np.hypot(low_error, high_error) < high
    value, error = means[-1]
    assert abs(value - LOG_PROB) < Z * error + 1e-3
    assert means[2][0] < value + Z * error


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
def test_streamed_estimates_converge_with_honest_errors(key, proposal):
    """40 estimates of 4000 draws: z-scores of mean 0 and deviation 1; a larger error is seen."""
    run = jax.jit(
        lambda key: vae.estimate_log_prob(
            key,
            FUNCTIONS,
            copies(40),
            proposal=proposal,
            num_samples=4000,
            chunk=500,
        )
    )
    value, error = run(key)
    z = (np.asarray(value) - LOG_PROB) / np.asarray(error)
    assert abs(z.mean()) < Z / np.sqrt(40) + 0.05
    assert 0.6 < z.std() < 1.5
    assert np.asarray(error).max() < 0.1
    assert abs((z + 0.2 / np.asarray(error)).mean()) > Z / np.sqrt(40) + 0.05  # planted


def test_streaming_is_the_estimate_of_one_chunk(key):
    x, options = copies(3), {"num_samples": 64}
    estimate = lambda keys, x, chunk: vae.estimate_log_prob(
        keys, FUNCTIONS, x, chunk=chunk, **options
    )
    one = lambda chunk: jax.jit(estimate, static_argnums=2)(key, x, chunk)
    whole = one(64)
    direct, _ = jax.jit(lambda keys: vae.iwae(fold_in(keys, 0), FUNCTIONS, x, **options))(
        sample_keys(key, 3)
    )
    np.testing.assert_allclose(whole.value, direct, rtol=1e-5)
    assert np.abs(one(16).value - whole.value).max() < 1


@pytest.mark.parametrize("proposal", vae.PROPOSALS)
def test_as_many_draws_count_as_were_asked_for(key, proposal):
    """64 in chunks of 50 are the first 64 of 100: their mean, and its error, by hand."""
    x, options = copies(3), {"proposal": proposal, "chunk": 50}
    estimate = lambda n: vae.estimate_log_prob(key, FUNCTIONS, x, num_samples=n, **options)
    means = {n: np.exp(np.asarray(estimate(n).value, np.float64)) for n in (63, 64)}
    weight = 64 * means[64] - 63 * means[63]  # of draw 64 alone
    assert np.all(weight > 0)
    prior, one = vae.standard_normal(2), fold_in(sample_keys(key, 3), 1)
    at = fold_in(one, 13)  # the 14th of the second chunk
    if proposal == "posterior":
        drawn = encode(x).draw(encode(x).params, at)
    else:
        z = prior.sample(at)
        drawn = single(z, prior.log_prob(z))
    truth = np.exp(log_weights(FUNCTIONS, expanded(drawn), x)[0, 0])
    np.testing.assert_allclose(weight, truth, rtol=0.02, atol=1e-4 * float(truth.max()))
    assert np.isnan(estimate(1).error).all()  # one draw says nothing of it


class Decoder:
    """A decoder of which an attribute changes; no hash, as equinox's modules with arrays."""

    __hash__ = None

    def __init__(self):
        self.scale = 1.0

    def __call__(self, z):
        return self.scale * decode(z)


@pytest.mark.parametrize("kind", ["closure", "bound method", "no hash"])
@pytest.mark.parametrize(
    ("of", "options"),
    [
        (vae.estimate_log_prob, {"num_samples": 6}),
        (vae.annealed_log_prob, {"chains": 2, "levels": 3, "step_size": 0.3}),
    ],
)
def test_what_a_function_reads_is_read_at_each_call(key, of, options, kind):
    decoder = Decoder()
    seen = {
        "closure": lambda z: decoder.scale * decode(z),
        "bound method": decoder.__call__,
        "no hash": decoder,
    }[kind]
    run = lambda decode: np.asarray(
        of(key, FUNCTIONS._replace(decode=decode), copies(2), **options).value
    )
    before = run(seen)
    decoder.scale = 2.0
    after = run(seen)
    np.testing.assert_allclose(after, run(lambda z: 2 * decode(z)), rtol=1e-5)
    assert np.abs(after - before).min() > 1e-3


def test_a_held_program_compiles_an_estimate_once(key, count_traces):
    """The functions of a program that the caller holds, as a model's, are traced with it."""
    seen = count_traces(decode)
    functions = FUNCTIONS._replace(decode=seen)
    run = jax.jit(lambda key, x: vae.estimate_log_prob(key, functions, x, num_samples=6).value)
    values, counts = [], []
    for i in range(2):
        values.append(np.asarray(run(jax.random.fold_in(key, i), copies(2) + i)))
        counts.append(seen.calls)
    assert counts[0] == counts[1] > 0
    assert np.abs(values[1] - values[0]).min() > 0


def two_modes(x):
    """A mixture of which one component, of a third of the mass, is near the posterior."""
    near, far = [*exact_model.Q_MEAN, *exact_model.Q_LOG_STD], [-3.0, 3.0, -0.5, -0.5]
    raw = jnp.asarray([0.0, np.log(2.0), *near, *far], x.dtype)
    family = vae.make_posterior("mixture", components=2)
    return family.make(jnp.zeros((2, 2)), jnp.broadcast_to(raw, (len(x), 10)))


@pytest.mark.parametrize(
    ("proposal", "encode"),
    [("posterior", encode), ("posterior", two_modes), ("prior", encode)],
    ids=["posterior", "mixture", "prior"],
)
def test_annealed_importance_sampling_meets_log_p(key, proposal, encode):
    options = {"proposal": proposal, "chains": 64, "levels": 12, "step_size": 0.3}
    functions = FUNCTIONS._replace(encode=encode)
    value, error = jax.jit(
        lambda key: vae.annealed_log_prob(key, functions, copies(20), **options)
    )(key)
    z = (np.asarray(value) - LOG_PROB) / np.asarray(error)
    assert abs(z.mean()) < Z / np.sqrt(20) + 0.1
    assert abs((z + 0.6 / np.asarray(error)).mean()) > Z / np.sqrt(20) + 0.1  # planted
    assert np.asarray(error).max() < 0.3
    assert 0.5 < z.std() < 1.7


def test_closed_form_kl_is_the_integral(x64):
    grid = np.linspace(-15, 15, 200_001)
    normal = lambda m, s: np.exp(-0.5 * ((grid - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
    for m, s, pm, ps in ((0.3, 0.5, 0.0, 1.0), (-1.0, 1.5, 0.4, 0.8)):
        p, q = normal(m, s), normal(pm, ps)
        truth = np.trapezoid(p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), grid)
        terms = kl_terms(*map(jnp.asarray, (m, np.log(s), pm, np.log(ps))))
        np.testing.assert_allclose(terms, truth, rtol=1e-7)
        shift, log_scale = (m - pm) / ps, np.log(s / ps)
        residual = residual_kl_terms(jnp.asarray(shift), jnp.asarray(log_scale))
        np.testing.assert_allclose(residual, truth, rtol=1e-7)


def quadrature_bound(mean, log_std, slope, x, scale, k):
    """L_k of z ~ N(0, 1), x ~ N(slope z, scale^2), q = N(mean, std^2), by Gauss-Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    z = mean + np.exp(log_std) * nodes
    normal = lambda v, m, s: -0.5 * ((v - m) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi))
    log_w = normal(x, slope * z, scale) + normal(z, 0, 1) - normal(z, mean, np.exp(log_std))
    if k == 1:
        return weights @ log_w
    pairs = np.logaddexp(log_w[:, None], log_w) - np.log(2)
    return weights @ pairs @ weights


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("gradient", vae.GRADIENTS)
def test_gradients_are_those_of_the_exact_bound(key, gradient, k):
    """Mean of 2e4 gradients against finite differences of the bound by quadrature."""
    x, scale, at = 0.8, 0.6, np.array([0.4, -0.3, 0.9])  # mean, log std, slope
    likelihood = vae.make_likelihood("gaussian", scale=scale)

    def one(params, key):
        mean, log_std, slope = params[:1][None], params[1:2][None], params[2]
        posterior = lambda x: vae.diagonal_gaussian(mean, log_std)
        decode = lambda z: slope * z[..., None]
        point = jnp.full((1, 1), x)
        functions = vae.VAEFunctions(posterior, decode, likelihood)
        return vae.iwae(key, functions, point, num_samples=k, gradient=gradient)[0][0]

    keys = jax.random.split(key, 20_000)
    each = np.asarray(jax.jit(jax.vmap(jax.grad(one), (None, 0)))(jnp.asarray(at), keys))
    step, f = 1e-4, lambda p: quadrature_bound(*p, x, scale, k)
    for i, direction in enumerate(np.eye(3) * step):
        truth = (f(at + direction) - f(at - direction)) / (2 * step)
        assert abs(score(each[:, i], truth)) < Z
        assert abs(score(each[:, i], truth + 0.15)) > Z


def test_doubly_reparameterised_gradients_are_less_noisy(key):
    """At the exact posterior they vanish draw by draw; the plain ones do not."""
    posterior = lambda shift: (
        lambda x: vae.diagonal_gaussian(
            jnp.full((len(x), 1), 0.5) + shift, jnp.full((len(x), 1), 0.5 * np.log(0.5))
        )
    )

    def slope(gradient):
        f = lambda shift: vae.iwae(
            key,
            vae.VAEFunctions(
                posterior(shift), lambda z: z[..., None], vae.make_likelihood("gaussian")
            ),
            jnp.ones((8, 1)),
            num_samples=4,
            gradient=gradient,
        )[0]
        return np.abs(jax.jit(jax.jacobian(f))(0.0)).max()

    assert slope("doubly_reparameterised") < 1e-5
    assert slope("reparameterised") > 1e-2


def test_every_option_changes_the_loss(key):
    run = lambda **options: jax.jit(
        lambda key: vae.elbo(key, encode, decode, copies(5), likelihood=LIKELIHOOD, **options)[0]
    )(key)
    plain = run()
    for options in ({"beta": 2.0}, {"free_bits": 5.0}, {"num_samples": 2}, {"kl": "monte_carlo"}):
        assert np.abs(run(**options) - plain).max() > 1e-3
    other = vae.make_prior("gaussian_mixture")
    params = other.init(key, 2, None)
    assert np.abs(run(prior=other.make(params, 2, encode)) - plain).max() > 1e-3


def test_free_bits_floor_the_batch_mean_of_each_dimension():
    mean = jnp.array([[0.0, 2.0], [0.2, 0.0]])
    encode = lambda log_std: lambda x: vae.diagonal_gaussian(mean, log_std)
    decode = lambda z: jnp.zeros((len(z), 4, 1))

    def total(log_std):
        options = {"likelihood": LIKELIHOOD, "free_bits": 0.3}
        key, x = jax.random.key(0), jnp.zeros((2, 4))
        value, aux = vae.elbo(key, encode(log_std), decode, x, **options)
        return value.mean(), aux["log_likelihood"].mean()

    # Dimension 0 costs 0 and 0.02 nats: the floor. Dimension 1 costs 2 and 0, mean 1: itself.
    value, nothing = jax.jit(total)(jnp.zeros((2, 2)))
    np.testing.assert_allclose(nothing - value, 0.3 + 1.0, rtol=1e-5)
    gradient, _ = jax.jit(jax.grad(total, has_aux=True))(0.1 * jnp.ones((2, 2)))
    assert np.all(gradient[:, 0] == 0)
    assert np.all(gradient[:, 1] != 0)


@pytest.mark.parametrize("prior", vae.PRIORS)
@pytest.mark.parametrize("posterior", vae.POSTERIORS)
def test_without_free_bits_the_loss_is_minus_the_elbo_of_each_example(posterior, prior):
    """Close to the prior, where single draws of the KL are negative: alone or in a batch."""
    dim, keys = 2, sample_keys(jax.random.key(0), 6)
    family, law = vae.make_posterior(posterior), vae.make_prior(prior)
    own = family.init(jax.random.key(1), dim)
    around = lambda x: family.make(own, 0.1 * jnp.sin(jnp.arange(family.size(dim)) + x[:, :1]))
    params = law.init(jax.random.key(2), dim, jnp.zeros((8, 4)))
    x = copies(6) + jnp.arange(6.0)[:, None]

    def bound(keys, x, **options):
        made = law.make(params, dim, lambda inputs: around(jnp.zeros((len(inputs), 4))))
        return vae.elbo(keys, around, decode, x, likelihood=LIKELIHOOD, prior=made, **options)

    for kl in ("monte_carlo", "auto"):
        value, aux = bound(keys, x, kl=kl, free_bits=0.0)
        np.testing.assert_array_equal(value, aux["elbo"])
        np.testing.assert_array_equal(value, aux["log_likelihood"] - aux["kl"])
        alone = bound(keys[2:3], x[2:3], kl=kl, free_bits=jnp.zeros(()))[0]
        np.testing.assert_allclose(alone[0], value[2], rtol=1e-5)


def test_a_floor_of_0_neither_clamps_nor_stops_the_gradient():
    """KL estimates of mean -1/8: as they are; under a floor they cost it and pass nothing."""
    kl = jnp.array([[-0.5, 0.125], [0.25, 0.5]])
    floored = with_free_bits(kl, jnp.array([0.0, 0.5]))
    np.testing.assert_array_equal(with_free_bits(kl, 0.0), kl)
    np.testing.assert_array_equal(floored, [[-0.5, 0.5], [0.25, 0.5]])
    slope = lambda floor: jax.grad(lambda kl: with_free_bits(kl, floor).sum())(kl)
    np.testing.assert_array_equal(slope(0.0), 1)
    np.testing.assert_array_equal(slope(1e-6), [[0, 1], [0, 1]])


def test_a_floor_does_not_hide_a_kl_of_nan():
    kl = with_free_bits(jnp.array([[jnp.nan, 0.01], [1.0, 0.01]]), 0.1)
    np.testing.assert_allclose(kl, [[np.nan, 0.1], [1.0, 0.1]])


def test_warm_up_rises_and_stays():
    values = [float(vae.warm_up(s, 10, 0.2)) for s in (0, 5, 10, 99)]
    np.testing.assert_allclose(values, [0.2, 0.6, 1.0, 1.0], rtol=1e-6)
    assert float(vae.warm_up(0, 0)) == 1.0


def test_examples_do_not_depend_on_their_batch(key):
    """Each example has its own key; free bits are the only thing that looks at the batch."""
    x = jax.random.normal(key, (3, 4))
    keys = jax.random.split(key, 3)
    for of in (elbo, vae.iwae):
        run = jax.jit(lambda keys, x, of=of: of(keys, FUNCTIONS, x, num_samples=3)[0])
        np.testing.assert_allclose(run(keys[1:2], x[1:2])[0], run(keys, x)[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl": "closed"}, "kl='closed'"),
        ({"num_samples": 0}, "num_samples=0"),
    ],
)
def test_bad_options_are_refused(key, options, message):
    with pytest.raises(ConfigError, match=message):
        vae.elbo(key, encode, decode, copies(2), likelihood=LIKELIHOOD, **options)


def test_annealed_estimates_take_one_key(key):
    with pytest.raises(ConfigError, match="must be one key"):
        vae.annealed_log_prob(jax.random.split(key, 2), FUNCTIONS, jnp.zeros((2, 2)))
