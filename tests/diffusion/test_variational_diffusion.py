"""VDM: the bound depends on the ends alone; the ends are exact; the shape lowers the variance."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from gen_jax import conditions, data, diffusion, nets, paths
from gen_jax.diffusion.variational_diffusion import continuous_term, variational_loss
from gen_jax.errors import ConfigError

STD, LOW, HIGH, KEY = 0.6, -7.0, 4.0, jax.random.key(0)
SCHEDULE = nets.MonotoneSchedule(LOW, HIGH, 5)


def wild(key, schedule=SCHEDULE):
    """A schedule with random weights."""
    variables = schedule.init(key, jnp.zeros(()))
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    moved = [leaf + 3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys)]
    variables = jax.tree.unflatten(tree, moved)
    return lambda t: schedule.apply(variables, t)


def test_the_ends_hold_for_any_weights_and_the_inside_rises():
    for i in range(5):
        gamma = wild(jax.random.key(i))
        values = np.asarray(gamma(jnp.linspace(0, 1, 101)))
        assert values[0] == LOW
        assert values[-1] == HIGH
        assert (np.diff(values) > 0).all()
        paths.check_path(paths.from_gamma(gamma))
    start = SCHEDULE.apply(SCHEDULE.init(KEY, jnp.zeros(())), jnp.linspace(0, 1, 11))
    np.testing.assert_allclose(start, np.linspace(LOW, HIGH, 11), atol=0.2)
    free = nets.MonotoneSchedule(LOW, HIGH, 5, learned_ends=True)
    variables = free.init(KEY, jnp.zeros(()))
    np.testing.assert_allclose(free.apply(variables, jnp.array([0.0, 1.0])), (LOW, HIGH), rtol=1e-6)
    moved = jax.tree.map(lambda leaf: leaf - 2, variables)
    low, high = free.apply(moved, jnp.array([0.0, 1.0]))
    assert low < high


def test_gamma_is_the_log_of_the_noise_to_signal_ratio(x64):
    gamma = wild(KEY)
    path, t = paths.from_gamma(gamma), jnp.linspace(0, 1, 7)
    np.testing.assert_allclose(paths.log_snr(path, t), -gamma(t), rtol=1e-9)
    np.testing.assert_allclose(path.alpha(t) ** 2 + path.sigma(t) ** 2, 1, rtol=1e-12)


@pytest.mark.parametrize("shape", ["line", "square", "wild"])
def test_three_schedules_have_the_bound_of_the_closed_form(shape, x64):
    """1/2 log of the ratio of posterior precisions; and with the ends the entropy is met."""
    between = {
        "line": lambda t: LOW + (HIGH - LOW) * t,
        "square": lambda t: LOW + (HIGH - LOW) * t**2,
        "wild": wild(jax.random.key(2)),
    }[shape]
    path = paths.from_gamma(between)
    denoise = exact.gaussian_denoiser(0.0, STD, path)
    x0 = STD * jax.random.normal(KEY, (2000, 1))
    run = lambda x0: diffusion.continuous_bound(
        KEY, denoise, path, x0, num_times=60, bin_width=None
    )
    terms = jax.jit(run)(x0)
    inner = np.asarray(terms["diffusion"])
    precision = lambda gamma: 1 / STD**2 + np.exp(-gamma)
    truth = 0.5 * np.log(precision(LOW) / precision(HIGH))
    assert abs(inner.mean() - truth) < 5.1 * inner.std() / np.sqrt(len(inner))
    gap = sum(terms.values()) + stats.norm.logpdf(np.asarray(x0[:, 0]), scale=STD)
    # Lost are the divergence of q(x_1) from the prior, and that of D(x_0) plus sigma from x0.
    assert -0.02 < float(gap.mean()) < 0.08


def test_the_shape_lowers_the_variance_and_leaves_the_bound():
    """Where the noise hides the data nothing is lost: the best schedule hurries through there."""
    schedule, optimizer = nets.MonotoneSchedule(-12.0, 8.0, 8), optax.adam(0.1)
    x0 = STD * jax.random.normal(KEY, (256, 8))

    def term(variables, key):
        path = paths.from_gamma(lambda t: schedule.apply(variables, t))
        eps = jax.random.normal(key, x0.shape)
        t = (jnp.arange(256) + jax.random.uniform(key)) / 256
        denoise = exact.gaussian_denoiser(0.0, STD, path)
        return diffusion.continuous_term(denoise, path, x0, eps, t)

    @jax.jit
    def trained(variables):
        def step(carry, key):
            slope = jax.grad(lambda v: jnp.mean(term(v, key) ** 2))(carry[0])
            updates, moments = optimizer.update(slope, carry[1])
            return (optax.apply_updates(carry[0], updates), moments), None

        keys = jax.random.split(KEY, 150)
        return jax.lax.scan(step, (variables, optimizer.init(variables)), keys)[0][0]

    start = schedule.init(KEY, jnp.zeros(()))
    keys = jax.random.split(jax.random.key(99), 40)
    measured = jax.jit(jax.vmap(term, (None, 0)))
    before, after = measured(start, keys), measured(trained(start), keys)
    assert float(after.var()) < 0.5 * float(before.var())
    np.testing.assert_allclose(after.mean(), before.mean(), rtol=0.03)


@pytest.fixture(scope="module")
def model():
    options = {"shape": (4,), "condition": conditions.labels(2), "transform": data.bin_centres()}
    schedule = nets.MonotoneSchedule(LOW, HIGH, 4, learned_ends=True)
    network = nets.FourierFeatures(nets.MLP((16,), num_classes=2), (1, 2))
    return diffusion.variational_diffusion(
        network, optax.adam(1e-2), schedule=schedule, bin_width=2 / 256, ema_decay=0.9, **options
    )


X = np.random.default_rng(0).integers(0, 256, (32, 4)).astype(np.uint8)
BATCH = {"x": jnp.asarray(X), "y": jnp.arange(32) % 2}


def test_the_ends_follow_the_bound_and_the_shape_its_second_moment(model):
    """By finite differences of the two, with the same times and noise."""
    parts = model.parts
    params = model.init(KEY, BATCH).params

    def total(schedule):
        variables = {"network": params["network"], "schedule": {"params": schedule}}
        each, metrics = variational_loss(parts, parts.preconditioned, variables, KEY, BATCH)
        return each.mean(), jax.tree.map(jnp.mean, metrics)

    run, inside = jax.jit(jax.value_and_grad(total, has_aux=True)), params["schedule"]["params"]
    (value, at), slope = run(inside)
    np.testing.assert_allclose(value, at["bound"], rtol=1e-5)
    np.testing.assert_allclose([at["low"], at["high"]], [LOW, HIGH], atol=1e-2)
    for name, leaf in inside.items():
        sides = [run({**inside, name: leaf + h})[0][1] for h in (0.02, -0.02)]
        if name in ("low", "gap"):
            high, low = (side["bound"] for side in sides)
        else:
            high, low = (
                0.5 * side["relative_moment"] * (side["diffusion"] / at["diffusion"]) ** 2
                for side in sides
            )
        found = float(jnp.sum(slope[name]))
        assert found == pytest.approx(float(high - low) / 0.04, rel=0.1, abs=3e-3), name


def test_a_step_trains_and_the_rest_of_diffusion_works(model):
    state = model.init(KEY, BATCH)
    before = model.log_prob(KEY, state, X[:8], num_times=8)
    step = jax.jit(model.step)
    for i in range(30):
        state, metrics = step(jax.random.key(i), state, BATCH)
    assert all(np.isfinite(value) for value in metrics.values())
    after = model.log_prob(KEY, state, X[:8], num_times=8)
    assert model.log_prob_kind == "lower bound"
    assert after.mean() > before.mean()
    assert after.max() < 0  # of probabilities, not densities
    drawn = model.sample(KEY, state, 3, label=[0, 1, 0], guidance=2.0, num_steps=4)
    assert drawn.dtype == np.uint8
    path = diffusion.trained_path(model, state)
    assert float(paths.log_snr(path, jnp.zeros(()))) != pytest.approx(-LOW, abs=1e-3)
    denoise = diffusion.denoiser(model, state, label=1)
    assert denoise(jnp.zeros((2, 4)), jnp.array([0.1, 0.9])).shape == (2, 4)


def test_refusals():
    with pytest.raises(ConfigError, match="high=-7"):
        nets.MonotoneSchedule(LOW, LOW)
    for ends in ((-np.inf, 1.0), (0.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(ConfigError, match="(low|high)="):
            nets.MonotoneSchedule(*ends)
    start = {"start": lambda key, value: value, "condition": conditions.labels(2)}
    not_read = {"weighting": "simple", "variance_steps": 5, "likelihood": {"num_steps": 4}, **start}
    for name in not_read.keys() - {"condition"}:
        with pytest.raises(ConfigError, match=f"{name}: not of a variational model"):
            diffusion.variational_diffusion(
                nets.MLP((8,)), optax.sgd(0.1), shape=(2,), **{name: not_read[name]}
            )
    for schedule in (nets.MonotoneSchedule, "line"):
        with pytest.raises(ConfigError, match="schedule=.* must be a nets.MonotoneSchedule"):
            diffusion.variational_diffusion(
                nets.MLP((8,)), optax.sgd(0.1), shape=(2,), schedule=schedule
            )
    with pytest.raises(ConfigError, match="exponents"):
        nets.FourierFeatures(nets.MLP((8,)), ())
    plain = diffusion.diffusion(nets.MLP((8,)), "vp", optax.sgd(0.1), shape=(2,))
    state = plain.init(KEY, {"x": np.zeros((2, 2), np.float32)})
    with pytest.raises(ConfigError, match="fixed path"):
        diffusion.trained_path(plain, state)
    for width in (0.0, -1.0, np.inf):  # bins of no width have the mass of rounding
        for bound in (diffusion.continuous_bound, diffusion.variational_bound):
            with pytest.raises(ConfigError, match="bin_width="):
                bound(KEY, lambda x, t: x, paths.vp(), jnp.ones((2, 4)), bin_width=width)
    for options, message in (({"num_times": 0}, "num_times=0"), ({"t_min": 2.0}, "t_min=2")):
        with pytest.raises(ConfigError, match=message):
            diffusion.continuous_bound(KEY, lambda x, t: x, paths.vp(), jnp.ones((2, 4)), **options)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp"])
def test_the_integrand_is_that_of_the_signal_to_noise_ratio_also_at_pure_noise(name, key, x64):
    """-SNR' |x0 - D|^2 / 2 by autodiff; at t = 1 of paths that end in noise it is 0, not inf 0."""
    path, x0 = paths.PATHS[name](), jnp.ones((4, 3))
    t, still = jnp.array([0.01, 0.3, 0.9, 1.0]), lambda x, t: jnp.zeros_like(x)
    found = continuous_term(still, path, x0, jnp.ones_like(x0), t)
    snr = lambda t: (path.alpha(t) / path.sigma(t)) ** 2
    np.testing.assert_allclose(found, -jax.vmap(jax.grad(snr))(t) * 3 / 2, rtol=1e-9, atol=1e-12)
