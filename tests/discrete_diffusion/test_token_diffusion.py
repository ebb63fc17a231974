"""Three states and two tokens by enumeration: marginals, reverse steps, ratios and both bounds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gen_jax.discrete_diffusion import (
    TOKEN_PATHS,
    ancestral,
    bound,
    corrupt,
    cosine_keep,
    marginal,
    prior,
    rate_term,
    ratios,
    reverse,
    sample,
    step_term,
    table_denoiser,
)
from gen_jax.discrete_diffusion.token_path import check_tokens, log_likelihood, rates
from gen_jax.errors import ConfigError

SIZE = 3
TABLE = np.array([[0.05, 0.2, 0.1], [0.15, 0.0, 0.1], [0.1, 0.25, 0.05]])
KEEPS = {"linear": lambda t: 1 - t, "cosine": cosine_keep}


def transition(path, t, s):
    """The forward matrix [from, to] of one token from s to t, in numpy."""
    noise = np.asarray(path.noise, np.float64)
    ratio = float(path.keep(jnp.array(t))) / float(path.keep(jnp.array(s)))
    return ratio * np.eye(len(noise)) + (1 - ratio) * noise


def joint_posterior(path, t, x_t):
    """p(x0 | x_t) over all pairs of data tokens, by Bayes' rule."""
    q = transition(path, t, 0.0)
    weights = TABLE * q[:SIZE, x_t[0]][:, None] * q[:SIZE, x_t[1]][None]
    with np.errstate(invalid="ignore"):  # of a pair that no data lead to
        return weights / weights.sum(), weights.sum()


def pairs(path):
    return list(itertools.product(range(len(path.noise)), repeat=2))


@pytest.fixture(params=[(p, k) for p in TOKEN_PATHS for k in KEEPS], ids="-".join)
def path(request):
    name, keep = request.param
    return TOKEN_PATHS[name](SIZE, KEEPS[keep])


@pytest.fixture
def tables(path, x64):
    """The path in float64, all noisy pairs [V^2, 2] and the exact denoiser."""
    path = path._replace(noise=jnp.asarray(path.noise, jnp.float64))
    return path, jnp.array(pairs(path)), table_denoiser(jnp.asarray(TABLE), path)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_marginal(tables, t):
    path, _, _ = tables
    found = marginal(path, jnp.arange(SIZE)[:, None], jnp.full(SIZE, t))[:, 0]
    np.testing.assert_allclose(found, transition(path, t, 0.0)[:SIZE], atol=1e-12)
    assert float(found.min()) >= 0


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_denoiser_is_bayes_rule(tables, t):
    path, x_t, denoise = tables
    found = np.exp(denoise(x_t, jnp.full(len(x_t), t)))
    for row, x in zip(found, pairs(path)):
        wanted, evidence = joint_posterior(path, t, x)
        if evidence > 0:
            np.testing.assert_allclose(row[0, :SIZE], wanted.sum(1), atol=1e-12)
            np.testing.assert_allclose(row[1, :SIZE], wanted.sum(0), atol=1e-12)
            np.testing.assert_allclose(row[:, SIZE:], 0)


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.6), (0.6, 0.25), (0.25, 0.0), (1.0, 0.0)])
def test_reverse_step(tables, t, s):
    """p(x_s_i | x_t) is the sum over x0_i of the forward steps' posterior, token by token."""
    path, x_t, denoise = tables
    full = lambda u: jnp.full(len(x_t), u)
    log_x0 = denoise(x_t, full(t))
    found = np.exp(reverse(path, log_x0, x_t, full(t), full(s)))
    to_s, s_to_t, to_t = transition(path, s, 0.0), transition(path, t, s), transition(path, t, 0.0)
    for row, x, given in zip(found, pairs(path), np.exp(log_x0)):
        if joint_posterior(path, t, x)[1] == 0:
            continue
        for i in range(2):
            wanted = sum(
                given[i, v] * to_s[v] * s_to_t[:, x[i]] / to_t[v, x[i]]
                for v in range(SIZE)
                if given[i, v] > 0
            )
            np.testing.assert_allclose(row[i], wanted, atol=1e-9)
            np.testing.assert_allclose(row[i].sum(), 1, atol=1e-9)


def test_ratios(tables):
    """q_t(y) / q_t(x) of the joint law, where y differs from x in one token."""
    path, x_t, denoise = tables
    t = 0.4
    times = jnp.full(len(x_t), t)
    found = np.asarray(ratios(path, denoise(x_t, times), x_t, times))
    law = {x: joint_posterior(path, t, x)[1] for x in pairs(path)}
    for row, x in zip(found, pairs(path)):
        if law[x] == 0:
            continue
        # Away from a masked token, a change has no rate: pi(x_t) is 0 there.
        for i in (i for i in range(2) if path.noise[x[i]] > 0):
            for v in range(len(path.noise)):
                y = (v, x[1]) if i == 0 else (x[0], v)
                np.testing.assert_allclose(row[i, v], law[y] / law[x], atol=1e-9)


def log_of(x0):
    return np.log(TABLE[x0])


def mean_over(path, x0, t, term):
    """The mean over x_t ~ q(x_t | x0) of a term of all pairs, by enumeration."""
    q = transition(path, t, 0.0)
    weights = np.array([q[x0[0], x[0]] * q[x0[1], x[1]] for x in pairs(path)])
    term = np.asarray(term)
    reached = weights > 0
    return float(np.sum(weights[reached] * term[reached]))


@pytest.mark.parametrize("x0", [(0, 1), (2, 0), (1, 2)])
def test_continuous_bound_of_the_exact_denoiser_is_the_probability(tables, x0):
    path, x_t, denoise = tables
    data = jnp.broadcast_to(jnp.array(x0), x_t.shape)

    @jax.jit
    def terms(t):
        times = jnp.full(len(x_t), t)
        return rate_term(path, denoise(x_t, times), data, x_t, times)

    value, _ = quad(lambda t: mean_over(path, x0, t, terms(t)), 1e-9, 1 - 1e-9, epsabs=1e-7)
    np.testing.assert_allclose(value, -log_of(x0), atol=2e-5)


def test_step_bound_falls_to_the_entropy(tables):
    """Its mean over the data; one step draws both tokens from laws of their own, exactly."""
    path, x_t, denoise = tables
    full = lambda u: jnp.full(len(x_t), u)

    @jax.jit
    def term(x0, t, s):
        data = jnp.broadcast_to(x0, x_t.shape)
        return step_term(path, denoise(x_t, full(t)), data, x_t, full(t), full(s))

    def total(x0, n):
        times = itertools.pairwise(np.linspace(1, 0, n + 1))
        return sum(mean_over(path, x0, t, term(jnp.array(x0), t, s)) for t, s in times)

    data = [x0 for x0 in itertools.product(range(SIZE), repeat=2) if TABLE[x0] > 0]
    for x0 in data:
        independent = -np.log(TABLE.sum(1)[x0[0]] * TABLE.sum(0)[x0[1]])
        np.testing.assert_allclose(total(x0, 1), independent, atol=1e-6)
    one, four, many = (sum(TABLE[x0] * total(x0, n) for x0 in data) for n in (1, 4, 16))
    entropy = -sum(TABLE[x0] * np.log(TABLE[x0]) for x0 in data)
    assert one > four > many > entropy
    assert many - entropy < 0.35 * (one - entropy)


def test_bound_by_sampling(tables, key):
    """Its mean over draws is the enumerated sum; the parts are what they are called."""
    path, x_t, denoise = tables
    x0, n = (2, 1), 20_000
    data = jnp.broadcast_to(jnp.array(x0), (n, 2))
    times = jnp.array([1.0, 0.5, 0.2, 0.0])
    found = jax.jit(lambda key: bound(key, denoise, path, data, times))(key)
    same = jnp.broadcast_to(jnp.array(x0), x_t.shape)

    def wanted(t, s):
        t, s = jnp.full(len(x_t), t), jnp.full(len(x_t), s)
        term = step_term(path, denoise(x_t, t), same, x_t, t, s)
        return mean_over(path, x0, float(t[0]), term)

    diffusion, last = wanted(1.0, 0.5) + wanted(0.5, 0.2), wanted(0.2, 0.0)
    np.testing.assert_allclose(found.prior, 0, atol=1e-9)
    for part, value in ((found.diffusion, diffusion), (found.reconstruction, last)):
        error = 5 * float(part.std()) / np.sqrt(n) + 1e-9
        assert abs(float(part.mean()) - value) < error


@pytest.mark.parametrize("t", [0.0, 1e-30, 1e-6, 0.5, 1 - 1e-6, 1.0])
def test_terms_and_their_gradients_are_finite_up_to_the_ends(path, t, key):
    """In float32, of a network that gives the mask no probability."""
    x0, t = jnp.array([[0, 1], [2, 2], [1, 0], [0, 0]]), jnp.full(4, t)
    x_t = corrupt(key, path, x0, t)
    possible = jnp.arange(len(path.noise)) < SIZE
    log_x0 = lambda logits: jax.nn.log_softmax(jnp.where(possible, logits, -1e30))
    terms = {
        "rate": lambda logits: rate_term(path, log_x0(logits), x0, x_t, t),
        "step": lambda logits: step_term(path, log_x0(logits), x0, x_t, t, 0.5 * t),
        "last": lambda logits: step_term(path, log_x0(logits), x0, x_t, t, 0 * t),
    }
    logits = 0.1 * jnp.arange(8.0 * len(path.noise)).reshape(4, 2, -1)
    for name, term in terms.items():
        if name == "rate" and 0 < t[0] < 1e-20 and len(path.noise) == SIZE:
            continue  # a token that changed at that time cannot be
        value, slope = jax.value_and_grad(lambda x, term=term: term(x).sum())(logits)
        assert np.isfinite([value, *np.ravel(slope)]).all(), name


@pytest.mark.parametrize("t", [1 - 1e-4, 1 - 1e-6, 1.0])
def test_the_rate_near_noise_does_not_drown_in_rounding(path, t, key):
    """float32 against float64, where the rates of uniform noise have a pole."""
    x0 = jnp.array([[0, 1], [2, 2]])
    x_t = corrupt(key, path, x0, jnp.full(2, 0.9))
    table = jax.nn.log_softmax(
        jnp.where(jnp.arange(len(path.noise)) < SIZE, jnp.arange(4.0)[: len(path.noise)], -1e30)
    )

    def value(dtype):
        log_x0 = jnp.broadcast_to(table.astype(dtype), (2, 2, len(path.noise)))
        return rate_term(path, log_x0, x0, x_t, jnp.full(2, t, dtype))

    narrow = np.asarray(value(jnp.float32), np.float64)
    with jax.enable_x64(True):
        wide = np.asarray(value(jnp.float64))
    np.testing.assert_allclose(narrow, wide, atol=1e-3)


def test_prior_is_noise(path, key):
    x = np.asarray(prior(key, path, (3000, 2)))
    share = np.bincount(x.ravel(), minlength=len(path.noise)) / x.size
    np.testing.assert_allclose(share, path.noise, atol=5 * 0.5 / np.sqrt(x.size))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TOKEN_PATHS["uniform"](1), "size=1"),
        (lambda: TOKEN_PATHS["absorbing"](0), "size=0"),
        (lambda: TOKEN_PATHS["absorbing"](3, lambda t: 1 - 0.9 * t), "exactly 0"),
        (lambda: TOKEN_PATHS["absorbing"](3, lambda t: jnp.cos(jnp.pi / 2 * t)), "exactly 0"),
        (lambda: TOKEN_PATHS["absorbing"](3, lambda t: t), "must fall"),
        (lambda: table_denoiser(jnp.ones((5, 5)), TOKEN_PATHS["uniform"](3)), "table"),
        (lambda: table_denoiser(jnp.zeros((3, 3)), TOKEN_PATHS["uniform"](3)), "table must hold"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("token", [-1, 3, 4])
def test_tokens_out_of_range_are_refused(token, key):
    path = TOKEN_PATHS["absorbing"](SIZE)
    denoise = table_denoiser(jnp.asarray(TABLE, jnp.float32), path)
    with pytest.raises(ConfigError, match=f"token {token}"):
        bound(key, denoise, path, jnp.array([[0, token]]), jnp.array([1.0, 0.0]))


@pytest.mark.parametrize("form", [np.ndarray.tolist, lambda x: x.astype(">i2"), np.ma.array])
def test_tokens_count_in_any_form(form):
    path, tokens = TOKEN_PATHS["uniform"](SIZE), np.array([[0, 1], [SIZE - 1, 0]])
    np.testing.assert_array_equal(check_tokens(path, form(tokens)), tokens)
    with pytest.raises(ConfigError, match=r"x0 has shape \(2,\), must be \[B, N\]"):
        check_tokens(path, form(tokens[0]))


@pytest.mark.parametrize("wrong", [SIZE, SIZE + 3, -1])
def test_tokens_that_no_data_have_are_refused_at_every_door(key, wrong):
    """The mask and numbers out of range, which an index would clamp: in data, and to start from."""
    path, t = TOKEN_PATHS["absorbing"](SIZE), jnp.full(1, 0.5)
    good, bad = jnp.zeros((1, 2), int), jnp.array([[0, wrong]])
    log_x0 = table_denoiser(jnp.asarray(TABLE), path)(good, t)
    doors = [
        lambda: corrupt(key, path, bad, t),
        lambda: rate_term(path, log_x0, bad, good, t),
        lambda: step_term(path, log_x0, bad, good, t, t / 2),
    ]
    if wrong != SIZE:
        times = jnp.linspace(1, 0, 3)
        doors.append(lambda: sample(key, lambda *_: log_x0, path, bad, times, ancestral()))
    for door in doors:
        with pytest.raises(ConfigError, match=rf"has the token {wrong}; allowed are 0 .. {SIZE}"):
            door()


@pytest.mark.parametrize("name", TOKEN_PATHS)
def test_noisy_tokens_out_of_range_are_refused_at_every_door(name):
    """An index would clamp them. Of the mask, which noise makes, the laws are known."""
    path, t = TOKEN_PATHS[name](SIZE), jnp.full(1, 0.5)
    size = len(path.noise)
    log_x0, good = jnp.full((1, 2, size), -jnp.log(size)), jnp.zeros((1, 2), int)
    doors = {
        "log_likelihood": lambda x: log_likelihood(path, x, t),
        "ratios": lambda x: ratios(path, log_x0, x, t),
        "rates": lambda x: rates(path, log_x0, x, t),
        "reverse": lambda x: reverse(path, log_x0, x, t, t / 2),
        "rate_term": lambda x: rate_term(path, log_x0, good, x, t),
        "step_term": lambda x: step_term(path, log_x0, good, x, t, t / 2),
    }
    for door in doors.values():
        assert len(door(jnp.array([[0, size - 1]]))) == 1
        for wrong in (size, -1):
            bad = jnp.array([[0, wrong]])
            for call in (door, lambda x, door=door: jax.jit(lambda y: y + door(x))(1.0)):
                with pytest.raises(ConfigError, match=f"x_t has the token {wrong}; allowed"):
                    call(bad)
