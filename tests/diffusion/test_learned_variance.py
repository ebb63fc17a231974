"""Learned reverse variances: any steps sample Gaussian data exactly, and bound them tightly."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from gen_jax import conditions, diffusion, nets, paths, training
from gen_jax.errors import ConfigError

STD = 0.6


def exact_fraction(path, t, s, std=STD):
    """f at which the variance is Var[x_s | x_t] of data N(0, std^2), from the joint Gaussian."""
    spread = lambda t: path.alpha(t) ** 2 * std**2 + path.sigma(t) ** 2
    slope = path.alpha(t) / path.alpha(s)
    kept = path.sigma(t) ** 2 - slope**2 * path.sigma(s) ** 2  # Var[x_t | x_s]
    truth = kept * spread(s) / spread(t)
    posterior, upper = kept * path.sigma(s) ** 2 / path.sigma(t) ** 2, kept
    return jnp.log(truth / posterior) / jnp.log(upper / posterior), truth


@pytest.mark.parametrize("name", ["linear", "cosine", "vp"])
def test_both_ends_and_the_middle_are_known_variances(name, x64):
    path = paths.PATHS[name]()
    t, s = jnp.array([0.9, 0.5, 0.2]), jnp.array([0.4, 0.45, 0.01])
    f, truth = exact_fraction(path, t, s)
    found = diffusion.reverse_log_variance(path, t, s, f)
    np.testing.assert_allclose(np.exp(found), truth, rtol=1e-10)
    one = diffusion.reverse_log_variance(path, 0.9, 0.4, float(f[0]))
    np.testing.assert_allclose(one, found[0], rtol=1e-6)
    for fraction in (0.0, 0.5, 1.0):  # a step to the data
        to_data = diffusion.reverse_log_variance(path, t, 0 * s, jnp.full(3, fraction))
        assert np.isneginf(to_data).all()
    ends = [diffusion.reverse_log_variance(path, t, s, jnp.full(3, f)) for f in (0.0, 1.0)]
    for end, std in zip(ends, (0.0, 1.0)):
        if std == 0 or name != "linear":  # "upper" is of unit variance on the whole path
            np.testing.assert_allclose(np.exp(end), exact_fraction(path, t, s, std)[1], rtol=1e-10)


@pytest.mark.parametrize("num_steps", [1, 5, 17])
def test_any_number_of_steps_samples_gaussian_data_exactly(num_steps, x64, monkeypatch):
    """The sum of squares of the coefficients of the noises is the variance; none is drawn."""
    path, times = paths.vp(), jnp.linspace(1, 1e-3, num_steps + 1)
    denoise = exact.gaussian_denoiser(0.0, STD, path)

    def both(x, t):
        s = times[jnp.argmin(jnp.abs(times - t[0])) + 1]
        return denoise(x, t), jnp.broadcast_to(exact_fraction(path, t[0], s)[0], x.shape)

    unit = lambda keys, shape, dtype: jax.nn.one_hot(keys, shape[0], dtype=dtype)
    monkeypatch.setattr("gen_jax.diffusion.learned_variance.normal", unit)
    step = diffusion.learned_ancestral(both).step
    spread = lambda t: path.alpha(t) ** 2 * STD**2 + path.sigma(t) ** 2
    x = jnp.sqrt(spread(times[0])) * jax.nn.one_hot(jnp.zeros(1, int), num_steps + 1)
    transitions = diffusion.sampler.transitions(path, times)
    for i in range(num_steps):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], transitions)
        x, _ = step(jnp.array([i + 1]), denoise, path, x, (), one)
    np.testing.assert_allclose(jnp.sum(x**2), spread(times[-1]), rtol=1e-9)


def test_the_term_is_a_divergence_of_two_gaussians(key, x64):
    """Against the log densities averaged over points of Gauss-Hermite quadrature."""
    path, t, s = paths.cosine(), jnp.array([0.8, 0.3]), jnp.array([0.5, 0.25])
    x0, x0_hat, x_t = jax.random.normal(key, (3, 2, 3))
    f = jnp.array([[0.2, 0.9, -0.3], [0.0, 1.0, 1.4]])
    found = diffusion.variance_term(x0_hat, f, path, x0, x_t, t, s)
    for given in ((x0_hat[:1], f), (x0_hat, f[:, :1])):
        with pytest.raises(ConfigError, match=r"fraction has shape \(2, [13]\), must be"):
            diffusion.variance_term(*given, path, x0, x_t, t, s)
    points, weights = np.polynomial.hermite_e.hermegauss(5)
    col = lambda a: np.asarray(a)[:, None]
    a_t, s_t, a_s, s_s = (col(f(u)) for u in (t, s) for f in (path.alpha, path.sigma))
    rest = (s_s * a_t / (a_s * s_t)) ** 2
    mean = lambda x0: a_s * x0 + s_s * np.sqrt(rest) / s_t * (np.asarray(x_t) - a_t * x0)
    true_std = s_s * np.sqrt(1 - rest)
    model_std = np.exp(0.5 * np.asarray(diffusion.reverse_log_variance(path, t, s, f)))
    m, q = mean(np.asarray(x0)), mean(np.asarray(x0_hat))
    truth = sum(
        w * (stats.norm.logpdf(y, m, true_std) - stats.norm.logpdf(y, q, model_std))
        for p, w in zip(points, weights / weights.sum())
        for y in [m + p * true_std]
    )
    np.testing.assert_allclose(found, truth.sum(1), rtol=1e-9)


def test_the_bound_is_tighter_with_the_right_variance(key, x64):
    """Each bound is above the entropy; the learned one by less than a hundredth at five steps."""
    path, times = paths.vp(), jnp.linspace(0.02, 1, 6)
    denoise = exact.gaussian_denoiser(0.0, STD, path)
    x0 = STD * jax.random.normal(key, (4000, 1))

    def fraction(x, t):
        s = jnp.interp(t, times[1:], times[:-1])
        return jnp.broadcast_to(exact_fraction(path, t, s)[0][:, None], x.shape)

    def inner(fraction):
        terms = diffusion.variational_bound(
            key, denoise, path, x0, times=times, fraction=fraction, bin_width=None
        )
        return sum(terms.values()) + stats.norm.logpdf(np.asarray(x0[:, 0]), scale=STD)

    gaps = {name: inner(f) for name, f in (("low", 0.0), ("high", 1.0), ("learned", fraction))}
    mean = {name: float(gap.mean()) for name, gap in gaps.items()}
    # What the last step of fixed variance loses is common to all: the entropy of x0 given x_t.
    a, s = (float(f(times[0])) for f in path)
    rest = np.log(s) - 0.5 * np.log(STD**2 * s**2 / (a**2 * STD**2 + s**2)) - 0.5
    rest += 0.5 * STD**2 / (a**2 * STD**2 + s**2)
    a, s = (float(f(jnp.ones(()))) for f in path)
    noise = 5 * float(gaps["learned"].std()) / np.sqrt(len(x0))
    assert abs(mean["learned"] - rest) < noise + 1e-3
    assert mean["low"] > mean["learned"] + 0.1
    assert mean["high"] > mean["learned"] + 0.05
    same = diffusion.variational_bound(key, denoise, path, x0[:4], times=times, fraction=0.0)
    zeros = lambda x, t: jnp.zeros_like(x)
    found = diffusion.variational_bound(key, denoise, path, x0[:4], times=times, fraction=zeros)
    np.testing.assert_allclose(found["diffusion"], same["diffusion"], rtol=1e-9)


def test_the_mean_is_held_in_the_bound_and_the_fraction_is_not(key):
    """The gradient of the mean is that of the plain loss; the least bound is at the true f."""
    path, x0 = paths.vp(), STD * jax.random.normal(key, (4000, 1))
    denoise = exact.gaussian_denoiser(0.0, STD, path)

    def loss(shift, f, weight):
        def predict(x, t):
            value = denoise(x, t) + shift
            return value, jnp.full_like(x, f)

        each, _ = diffusion.hybrid_steps_loss(
            predict, path, x0, jnp.flip(x0) / STD, jnp.full(4000, 0.6), prediction="x0",
            num_steps=10, vlb_weight=weight,
        )  # fmt: skip
        return each.mean()

    by_mean = jax.grad(loss)
    np.testing.assert_allclose(by_mean(0.1, 0.4, 1.0), by_mean(0.1, 0.4, 0.0), rtol=1e-5)
    f = float(exact_fraction(path, jnp.array(0.6), jnp.array(0.5))[0])
    slopes = [float(jax.grad(loss, 1)(0.0, f + step, 1.0)) for step in (-0.1, 0.0, 0.1)]
    assert slopes[0] < 0 < slopes[2]
    assert abs(slopes[1]) < 0.15 * slopes[2]
    each, aux = diffusion.hybrid_loss(key, lambda x, t: (x, x), path, x0[:8], num_steps=4)
    assert each.shape == aux["variance_bound"].shape == (8,)


def test_every_time_is_trained_and_no_term_leaves_the_floats(key):
    """The times between the steps and below the first one are seen too; terms are finite there."""
    path, seen = paths.cosine(), []

    def predict(x, t):
        seen.append(t)
        return jnp.zeros_like(x), jnp.zeros_like(x)

    t = jnp.array([0.0, 1e-4, 0.003, 0.0101, 0.55, 1.0])
    x0 = jax.random.normal(key, (6, 2))
    each, aux = diffusion.hybrid_steps_loss(predict, path, x0, jnp.flip(x0), t, num_steps=100)
    np.testing.assert_allclose(seen[0], t, atol=1e-3)
    assert np.isfinite(each).all()
    np.testing.assert_array_equal(np.asarray(aux["variance_bound"]) > 0, t > 0.01)


@pytest.fixture(scope="module")
def five_steps():
    """A model of N(0, STD^2) whose variances are learned for five steps."""
    options = {"shape": (2,), "loss": "hybrid", "variance_steps": 5, "data_std": STD}
    options |= {"condition": conditions.labels(2), "ema_decay": 0.99, "num_steps": 5}
    model = diffusion.diffusion(
        nets.MLP((16,)), "vp", optax.adam(5e-3), stepper="learned_ancestral", **options
    )
    x = STD * np.random.default_rng(0).normal(size=(4096, 2)).astype(np.float32)
    data = {"x": x, "y": np.zeros(4096, np.int32)}
    key = jax.random.key(0)
    state = training.fit(key, model, data, steps=600, batch_size=256, progress=False)
    return model, state


def test_a_trained_model_samples_with_its_own_variances(five_steps):
    """After four steps of five, at t = 0.2; a step to the data itself returns its mean."""
    model, state = five_steps
    path, t = paths.vp(), jnp.array(0.2)
    truth = float(path.alpha(t) ** 2 * STD**2 + path.sigma(t) ** 2)

    def error(stepper):
        way = diffusion.trajectory(jax.random.key(1), model, state, 4000, label=0, stepper=stepper)
        return float(way.states[-2].var()) / truth - 1

    found = {name: error(name) for name in ("learned_ancestral", "ddpm", "ddpm_upper")}
    assert abs(found["learned_ancestral"]) < 0.05
    assert found["ddpm"] < -0.1
    assert found["ddpm_upper"] > 0.1
    way = diffusion.trajectory(jax.random.key(1), model, state, 3, label=0)
    assert int(way.calls) == 5
    guided = model.sample(jax.random.key(1), state, 3, label=0, guidance=2.0)
    assert np.abs(guided - way.x).max() > 1e-4
    both = diffusion.denoiser_and_fraction(model, state, label=0)
    x, t = jnp.ones((3, 2)), jnp.array([0.2, 0.5, 1.0])
    np.testing.assert_allclose(
        both(x, t)[0], diffusion.denoiser(model, state, label=0)(x, t), atol=1e-6
    )


def test_refusals(five_steps, key):
    model, state = five_steps
    with pytest.raises(ConfigError, match="no other path"):
        model.sample(key, state, 2, path="cosine")
    fixed = diffusion.diffusion(nets.MLP((8,)), "vp", optax.sgd(0.1), shape=(2,))
    own = fixed.init(key, {"x": np.zeros((2, 2), np.float32)})
    with pytest.raises(ConfigError, match="learned_ancestral"):
        fixed.sample(key, own, 2, stepper="learned_ancestral")
    with pytest.raises(ConfigError, match="fixed reverse variances"):
        diffusion.denoiser_and_fraction(fixed, own)
    narrow = nets.from_functions(lambda *_: jnp.zeros(()), lambda params, x, *_: x + params)
    wrong = diffusion.diffusion(narrow, "vp", optax.sgd(0.1), shape=(2,), loss="hybrid")
    batch = {"x": np.zeros((3, 2), np.float32)}
    with pytest.raises(ConfigError, match="twice the channels"):
        wrong.step(key, wrong.init(key, batch), batch)
    with pytest.raises(ConfigError, match="variance_steps=1"):
        diffusion.diffusion(nets.MLP((8,)), "vp", optax.sgd(0.1), shape=(2,), variance_steps=1)
    for predict, message in ((lambda x, t: x, "predict returned"), (None, "predict=None")):
        with pytest.raises(ConfigError, match=message):
            diffusion.hybrid_loss(key, predict, paths.vp(), jnp.ones((3, 2)))
    times = jnp.array([1.0, 0.5, 0.0])
    with pytest.raises(ConfigError, match="both returned"):
        diffusion.sample(
            key, lambda x, t: x, paths.vp(), jnp.ones((3, 2)), times,
            diffusion.learned_ancestral(lambda x, t: x),
        )  # fmt: skip
