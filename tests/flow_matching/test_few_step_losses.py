"""Few-step losses: 0 for one data point; value and gradient in closed form for Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few_step_truths import of_one_point

from gen_jax.errors import ConfigError
from gen_jax.flow_matching import (
    FEW_STEP_LOSSES,
    consistency_loss,
    continuous_consistency_loss,
    drift,
    drifting_loss,
    moment_matching_loss,
)
from gen_jax.paths import PATHS, linear

POINT = jnp.array([0.4, -1.1])
T = np.array([1.0, 0.7, 0.7, 0.3, 0.5])
S = np.array([0.05, 0.2, 0.7, 0.1, 0.499])
OF_LAWS = ("moment_matching", "drifting")
"""Losses that compare the rows of a batch with each other."""
NORMALISED = "continuous_consistency"
"""Its value is no polynomial of the data."""
OF_PAIRS = [name for name in FEW_STEP_LOSSES if name not in (*OF_LAWS, NORMALISED)]


def one_point(key, path):
    x0, x1 = jnp.broadcast_to(POINT, (5, 2)), jax.random.normal(key, (5, 2))
    return of_one_point(POINT, path), x0, x1


@pytest.mark.parametrize("path", ["linear", "cosine", "edm"])
@pytest.mark.parametrize("name", FEW_STEP_LOSSES)
def test_no_loss_at_the_map_of_one_point(name, path, key, x64):
    path = PATHS[path]()
    average, x0, x1 = one_point(key, path)
    n = 4 if name in OF_LAWS else 5
    x0, x1, t, s = x0[:n], x1[:n], jnp.asarray(T[:n]), jnp.asarray(S[:n])
    loss, _ = FEW_STEP_LOSSES[name](average, path, x0, x1, t, s)
    assert loss.shape == (n,)
    # Drifting starts and ends at the path's ends, where edm still has data and noise.
    least = {"moment_matching": 1e-14, "drifting": 1e-5 if path.sigma(0.0) else 1e-14}
    np.testing.assert_allclose(loss, 0, atol=least.get(name, 1e-18))
    wrong = lambda x, t, s: average(x, t, s) + 0.1 * x
    assert float(FEW_STEP_LOSSES[name](wrong, path, x0, x1, t, s)[0].max()) > 1e-4


@pytest.mark.parametrize("path", ["linear", "cosine"])
def test_no_loss_of_the_other_two(path, key, x64):
    path = PATHS[path]()
    average, x0, x1 = one_point(key, path)
    loss, aux = continuous_consistency_loss(average, path, x0, x1, jnp.asarray(T))
    np.testing.assert_allclose(loss, 0, atol=1e-18)
    np.testing.assert_allclose(aux["tangent"], 0, atol=1e-9)
    four = slice(1, 5)
    loss, _ = moment_matching_loss(
        average, path, x0[four], x1[four], jnp.full(4, 0.9), jnp.full(4, 0.5), jnp.full(4, 0.2)
    )
    np.testing.assert_allclose(loss, 0, atol=1e-12)


def test_distillation_of_one_point(key, x64):
    """On the linear path the teacher's Heun step is exact, to the data as well."""
    average, x0, x1 = one_point(key, linear())
    teacher = lambda x, t: jnp.broadcast_to(POINT, x.shape)
    for s in (jnp.asarray(S), jnp.zeros(5)):
        for options in ({"teacher": teacher}, {}):
            loss, _ = consistency_loss(average, linear(), x0, x1, jnp.asarray(T), s, **options)
            np.testing.assert_allclose(loss, 0, atol=1e-18)


STD, THETA, TIME, EARLIER = 0.6, 0.3, 0.8, 0.35
MIDDLE = 0.5 * (TIME + EARLIER)
SPREAD = lambda t: jnp.sqrt((1 - t) ** 2 * STD**2 + t**2)
BUMP = lambda t, s: 0.5 + t * s + 0.3 * t
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(4)


def slope_at(theta):
    """k(t, s) with U = k x: that of Gaussian data on the linear path, plus theta times a bump."""

    def k(t, s):
        same = t == s
        step = jnp.where(same, 1.0, s - t)
        drift = ((1 - t) * -(STD**2) + t) / SPREAD(t) ** 2
        return jnp.where(same, drift, (SPREAD(s) / SPREAD(t) - 1) / step) + theta * BUMP(t, s)

    return k


def expected_loss(name, theta, **options):
    """The loss's mean over x0 ~ N(0, STD^2) and x1 ~ N(0, 1), by exact quadrature."""
    first, second = np.meshgrid(POINTS, POINTS, indexing="ij")
    weights = np.outer(WEIGHTS, WEIGHTS).ravel() / WEIGHTS.sum() ** 2
    x0, x1 = jnp.asarray(STD * first).reshape(-1, 1), jnp.asarray(second).reshape(-1, 1)
    k = slope_at(theta)
    average = lambda x, t, s: jax.vmap(k)(t, s)[:, None] * x
    t, s = jnp.full(len(x0), TIME), jnp.full(len(x0), EARLIER)
    return weights @ FEW_STEP_LOSSES[name](average, linear(), x0, x1, t, s, **options)[0]


def moments(t, s):
    """E[x_t x_s] and E[x_t u] with u = x1 - x0."""
    return (1 - t) * (1 - s) * STD**2 + t * s, -(1 - t) * STD**2 + t


def closed_form(name):
    """(value, derivative by theta with the targets held), by hand from second moments."""
    t, s, m = TIME, EARLIER, MIDDLE
    k, h = slope_at(THETA), BUMP
    (n2, xu), u2, gap = moments(t, t), STD**2 + 1, t - s
    k_t, k_s = jax.grad(k, 0)(t, s), jax.grad(k, 1)(t, s)
    if name in ("mean_flow", "improved_mean_flow"):
        if name == "mean_flow":
            on_x, on_u = k(t, s) + gap * k_t, gap * k(t, s) - 1
        else:
            on_x, on_u = k(t, s) + gap * (k_t + k(t, s) * k(t, t)), -1.0
        value = on_x**2 * n2 + 2 * on_x * on_u * xu + on_u**2 * u2
        return value, 2 * h(t, s) * (on_x * n2 + on_u * xu)
    if name == "shortcut":
        error = k(t, s) - 0.5 * (k(t, m) + k(m, s) * (1 + (m - t) * k(t, m)))
        return error**2 * n2, 2 * error * h(t, s) * n2
    if name == "consistency":
        at_t, at_s = 1 - t * k(t, 0.0), 1 - s * k(s, 0.0)
        both = moments(t, s)[0]
        value = at_t**2 * n2 - 2 * at_t * at_s * both + at_s**2 * moments(s, s)[0]
        return value / gap, -2 * t * h(t, 0.0) * (at_t * n2 - at_s * both) / gap
    error = k(t, s) - gap * k_s - k(s, s) * (1 - gap * k(t, s))
    value = error**2 * n2 + k(t, t) ** 2 * n2 - 2 * k(t, t) * xu + u2
    rise = h(t, s) - gap * jax.grad(h, 1)(t, s)
    return value, 2 * error * rise * n2 + 2 * (k(t, t) * n2 - xu) * h(t, t)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_value_and_gradient_for_gaussian_data(name, x64):
    value, gradient = jax.value_and_grad(lambda theta: expected_loss(name, theta))(THETA)
    wanted, slope = closed_form(name)
    np.testing.assert_allclose(value, wanted, rtol=1e-9)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_the_true_map_is_a_fixed_point(name, x64):
    """Without the bump the expected gradient is 0, but that of consistency, whose pair differs."""
    gradient = jax.grad(lambda theta: expected_loss(name, theta))(0.0)
    if name == "consistency":
        assert abs(float(gradient)) > 1e-3
    else:
        np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_targets_are_those_given(x64):
    """With a target that is the exact map, shortcut's loss is that of a plain regression."""
    exact_map = slope_at(0.0)
    target = lambda x, t, s: jax.vmap(exact_map)(t, s)[:, None] * x
    found = expected_loss("shortcut", THETA, target=target)
    n2 = moments(TIME, TIME)[0]
    np.testing.assert_allclose(found, (THETA * BUMP(TIME, EARLIER)) ** 2 * n2, rtol=1e-9)


def test_pseudo_huber_and_equal_times(key):
    average, x0, x1 = one_point(key, linear())
    wrong = lambda x, t, s: average(x, t, s) + 0.3
    t, s = jnp.array([0.8, 0.4]), jnp.array([0.3, 0.4])
    square, aux = consistency_loss(wrong, linear(), x0[:2], x1[:2], t, s)
    smooth, _ = consistency_loss(wrong, linear(), x0[:2], x1[:2], t, s, huber=0.1)
    assert float(square[1]) == float(smooth[1]) == 0
    np.testing.assert_allclose(square[0], aux["error"][0] / 0.5, rtol=1e-5)
    np.testing.assert_allclose(smooth[0], (np.sqrt(aux["error"][0] + 0.01) - 0.1) / 0.5, rtol=1e-4)
    gradient = jax.grad(
        lambda c: consistency_loss(
            lambda x, t, s: average(x, t, s) + c, linear(), x0[:2], x1[:2], t, s
        )[0].sum()
    )(0.3)
    assert np.isfinite(gradient)


def test_continuous_consistency_moves_along_the_tangent(key, x64):
    """The gradient with respect to U is -2 g / (|g| + c) / D, and warm-up scales the derivative."""
    x0, x1 = jnp.ones((1, 2)), jnp.array([[0.3, -0.5]])
    t = jnp.array([0.6])
    average = lambda x, t, s: 0.7 * x + t[:, None] ** 2

    def loss(shift, warmup):
        shifted = lambda x, t, s: average(x, t, s) + shift
        return continuous_consistency_loss(shifted, linear(), x0, x1, t, warmup=warmup)[0].sum()

    x_t, u = 0.4 * x0 + 0.6 * x1, x1 - x0
    for warmup in (0.0, 0.5, 1.0):
        g = u - average(x_t, t, t) - warmup * 0.6 * (0.7 * u + 2 * 0.6)
        wanted = -g / (jnp.sqrt(jnp.mean(g**2)) + 0.1)
        np.testing.assert_allclose(jax.grad(loss)(jnp.zeros((1, 2)), warmup), wanted, rtol=1e-9)


def test_continuous_consistency_is_its_part_and_flow_matching(key, x64):
    x0, x1 = jax.random.normal(key, (2, 3, 2))
    t, s = jnp.array([0.2, 0.6, 1.0]), jnp.zeros(3)
    average = lambda x, t, s: 0.7 * x + (t**2 - s)[:, None]
    x_t = (1 - t)[:, None] * x0 + t[:, None] * x1
    matching = ((average(x_t, t, t) - (x1 - x0)) ** 2).mean(1)
    options = {"warmup": 0.4, "normaliser": 0.3}
    found, terms = FEW_STEP_LOSSES[NORMALISED](
        average, linear(), x0, x1, t, s, matching_weight=0.5, **options
    )
    part, _ = continuous_consistency_loss(average, linear(), x0, x1, t, **options)
    np.testing.assert_allclose(terms["flow_matching"], matching, rtol=1e-9)
    np.testing.assert_allclose(found, part + 0.5 * matching, rtol=1e-9)
    with pytest.raises(ConfigError, match="matching_weight=-1"):
        FEW_STEP_LOSSES[NORMALISED](average, linear(), x0, x1, t, s, matching_weight=-1)


def test_moment_matching_is_a_discrepancy(key, x64):
    """The mean over pairs of numpy, group by group; a batch that groups do not fill is refused."""
    x0, x1 = jax.random.normal(key, (2, 6, 2))
    average = lambda x, t, s: 0.3 * x - s[:, None]
    t, r, s = jnp.full(6, 0.9), jnp.full(6, 0.5), jnp.full(6, 0.1)
    found, _ = moment_matching_loss(average, linear(), x0, x1, t, r, s, group=3)
    jumped = lambda u: (1 - u) * x0 + u * x1 + (0.1 - u) * average((1 - u) * x0 + u * x1, t, s)
    a, b = np.asarray(jumped(0.9)), np.asarray(jumped(0.5))
    for start in (0, 3):
        p, q = a[start : start + 3], b[start : start + 3]
        k = lambda x, y: np.exp(-np.linalg.norm(x[:, None] - y[None], axis=-1) / 2).mean()
        wanted = k(p, p) + k(q, q) - 2 * k(p, q)
        np.testing.assert_allclose(found[start : start + 3], wanted, rtol=1e-9)
    with pytest.raises(ConfigError, match="group=4 must divide"):
        moment_matching_loss(average, linear(), x0, x1, t, r, s)
    gradient = jax.grad(
        lambda c: moment_matching_loss(lambda x, t, s: c * x, linear(), x0, x1, t, r, s, group=3)[
            0
        ].sum()
    )(0.3)
    assert np.isfinite(gradient)


def kde_score(x, points, h):
    return jax.grad(
        lambda x: jax.scipy.special.logsumexp(-0.5 * ((x - points) ** 2).sum(-1) / h**2)
    )(x)


def test_gaussian_drift_is_a_difference_of_scores(key, x64):
    x, data, other = (
        jax.random.normal(k, (n, 2)) for k, n in zip(jax.random.split(key, 3), (5, 7, 6))
    )
    h = 0.7
    found = drift(x, data, other, h, "gaussian")
    wanted = jax.vmap(lambda x: h**2 * (kde_score(x, data, h) - kde_score(x, other, h)))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["laplace", "gaussian"])
def test_drift_laws(kernel, key):
    x, data, other = jax.random.normal(key, (3, 4, 2))
    np.testing.assert_allclose(
        drift(x, data, other, 0.5, kernel), -drift(x, other, data, 0.5, kernel), atol=1e-6
    )
    np.testing.assert_allclose(drift(x, data, data, 0.5, kernel), 0, atol=1e-6)
    far = drift(x, data + 1e4, x, 1e-2, kernel, exclude_same=True)
    assert bool(jnp.all(jnp.isfinite(far)))
    nearest = lambda points: points[jnp.argmin(((x[:, None] - points) ** 2).sum(-1), 1)]
    narrow = drift(x, data, other, 1e-30, kernel)
    np.testing.assert_allclose(narrow, nearest(data) - nearest(other), rtol=1e-5)
    loss = lambda x: drifting_loss(x, data, 0.5, kernel)[0]
    moved = drift(x, data, x, 0.5, kernel, exclude_same=True)
    np.testing.assert_allclose(loss(x), (moved**2).mean(-1), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: loss(x).sum())(x), -moved, rtol=1e-4, atol=1e-6)


def test_laplace_drift_by_hand(x64):
    x, data = jnp.array([[0.0], [1.0]]), jnp.array([[2.0], [-1.0]])
    found = drift(x, data, x, 0.5, exclude_same=True)[:, 0]
    near, far = np.exp(-2.0), np.exp(-4.0)
    first = (far * 2 - near) / (far + near) - 1
    second = (near * 1 - far * 2) / (near + far) + 1
    np.testing.assert_allclose(found, [first, second], rtol=1e-9)


def test_losses_of_laws_are_their_parts(key, x64):
    """Both add flow matching on the diagonal; at short steps the law to be met is x_s itself."""
    x0, x1 = jax.random.normal(key, (2, 4, 2))
    average = lambda x, t, s: 0.3 * x - s[:, None]
    t, s = jnp.full(4, 0.9), jnp.full(4, 0.1)
    x_t = 0.1 * x0 + 0.9 * x1
    matching = ((average(x_t, t, t) - (x1 - x0)) ** 2).mean(1)
    run = lambda name, s=s, **more: FEW_STEP_LOSSES[name](average, linear(), x0, x1, t, s, **more)
    found, terms = run("moment_matching", step=0.25, matching_weight=0.5)
    of_laws, _ = moment_matching_loss(average, linear(), x0, x1, t, jnp.full(4, 0.65), s)
    np.testing.assert_allclose(terms["flow_matching"], matching, rtol=1e-9)
    np.testing.assert_allclose(found, of_laws + 0.5 * matching, rtol=1e-9)
    close, _ = moment_matching_loss(average, linear(), x0, x1, t, jnp.full(4, 0.8), t - 0.1)
    _, terms = run("moment_matching", t - 0.1, step=0.25)
    np.testing.assert_allclose(terms["discrepancy"], close, rtol=1e-9)
    found, terms = run("drifting", temperature=0.5, kernel="gaussian")
    made = x1 - average(x1, t * 0 + 1, t * 0)
    drifted, _ = drifting_loss(made, x0, 0.5 * 2**0.5, "gaussian")
    np.testing.assert_allclose(found, drifted + matching, rtol=1e-9)
    for name, options in (
        ("moment_matching", {"step": 0.0}),
        ("moment_matching", {"matching_weight": np.inf}),
        ("drifting", {"temperature": -1.0}),
        ("drifting", {"temperature": np.inf}),
        ("consistency", {"huber": np.inf}),
    ):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            run(name, **options)


@pytest.mark.parametrize("name", FEW_STEP_LOSSES)
def test_every_loss_is_finite_at_the_ends_of_the_path(name, key):
    """sigma of vp is infinitely steep at t = 0, and with it the velocity."""
    x0, x1 = jax.random.normal(key, (2, 4, 2))
    t, s = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([0.0, 0.0, 0.0, 1.0])
    average = lambda w: lambda x, t, s: w * x - s[:, None]
    for path in (PATHS["vp"](), linear()):
        of = lambda w, path=path: FEW_STEP_LOSSES[name](average(w), path, x0, x1, t, s)[0].sum()
        assert np.isfinite(jax.value_and_grad(of)(0.3)).all()


@pytest.mark.parametrize("name", [*OF_PAIRS, NORMALISED, "moment_matching"])
def test_a_map_back_to_the_noise_is_refused(name, key):
    average, x0, x1 = one_point(key, linear())
    t, s = jnp.full(4, 0.3), jnp.array([0.1, 0.2, 0.3, 0.5])
    with pytest.raises(ConfigError, match=r"s=.* must be at most t"):
        FEW_STEP_LOSSES[name](average, linear(), x0[:4], x1[:4], t, s)


@pytest.mark.parametrize("name", [*FEW_STEP_LOSSES, "continuous"])
def test_a_velocity_of_another_shape_is_refused(name, key):
    """[B, 1] would broadcast against points in the plane and train another map."""
    x = jax.random.normal(key, (4, 2))
    t, narrow = jnp.full(4, 0.7), lambda x, t, s: x[:, :1]
    losses = FEW_STEP_LOSSES | {"continuous": lambda *a: continuous_consistency_loss(*a[:-1])}
    with pytest.raises(ConfigError, match=r"average returned shape \(4, 1\)"):
        losses[name](narrow, linear(), x, x, t, t / 2)
    if name in ("shortcut", "consistency", "lagrangian", "moment_matching"):
        with pytest.raises(ConfigError, match=r"target returned shape \(4, 1\)"):
            losses[name](lambda x, t, s: x, linear(), x, x, t, t / 2, target=narrow)


def test_drifting_refusals():
    one, two = jnp.zeros((1, 2)), jnp.zeros((2, 2))
    with pytest.raises(ConfigError, match="at least 2"):
        drifting_loss(one, two, 1.0)
    with pytest.raises(ConfigError, match="temperature=0"):
        drift(two, two, two, 0)
    with pytest.raises(ConfigError, match="kernel='box'"):
        drift(two, two, two, 1.0, "box")
    with pytest.raises(ConfigError, match="exclude_same"):
        drift(two, two, jnp.zeros((3, 2)), 1.0, exclude_same=True)


@pytest.mark.parametrize("name", [*FEW_STEP_LOSSES, "continuous"])
def test_whole_numbers_count_and_other_shapes_are_refused(name):
    """One noise for all data was repeated without a word."""
    losses = FEW_STEP_LOSSES | {"continuous": lambda *a: continuous_consistency_loss(*a[:-1])}
    average = lambda x, t, s: 0.3 * x + t[:, None]
    x0, x1 = np.arange(8).reshape(4, 2), np.eye(4, 2, dtype=int)
    t, s = np.ones(4, int), np.zeros(4, int)
    floats = [jnp.asarray(a, float) for a in (x0, x1, t, s)]
    expected = losses[name](average, linear(), *floats)[0]
    for given in ((x0, x1, t, s), [a.tolist() for a in (x0, x1, t, s)]):
        np.testing.assert_allclose(losses[name](average, linear(), *given)[0], expected, rtol=1e-5)
    for wrong in (x1[:1], x1[:, :1]):
        with pytest.raises(ConfigError, match="x1 has shape"):
            losses[name](average, linear(), x0, wrong, t, s)
    with pytest.raises(ConfigError, match="t has shape"):
        losses[name](average, linear(), x0, x1, t[:1], s[:1])
    with pytest.raises(ConfigError, match="path='linear' must be a GaussianPath"):
        losses[name](average, "linear", x0, x1, t, s)
    with pytest.raises(ConfigError, match="average=None must be a function"):
        losses[name](None, linear(), x0, x1, t, s)


def test_points_of_a_drift_have_one_shape():
    x, narrow = jnp.zeros((3, 2)), jnp.ones((3, 1))
    for given in ((x, narrow, x), (x, x, narrow), (x, x[:0], x), (x, x, x[:0])):
        with pytest.raises(ConfigError, match=r"(positives|negatives) has shape \((0|3),"):
            drift(*given, 0.5)
