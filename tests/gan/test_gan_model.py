"""GANs as a whole: known optima, what is carried, conditions, resuming."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy.stats import norm
from small_gans import (
    ADAM,
    QUIET,
    Affine,
    Classifier,
    Normalised,
    Quadratic,
    Reconstruction,
    bits,
    make,
    normal_data,
    run_steps,
)

from gen_jax import gan, training
from gen_jax.data.transforms import symmetric_images
from gen_jax.gan.began import next_balance
from gen_jax.gan.model import judgement_of
from gen_jax.nets import (
    Judgement,
    LipschitzCritic,
    MLPCritic,
    MLPGenerator,
    StyleCritic,
    StyleGenerator,
)


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic", "wgan"])
def test_a_gaussian_generator_finds_mean_and_deviation(key, optimized, loss):
    """Within 0.1, for every kind of loss with a penalty on slopes."""
    rates = optax.adam(5e-3, b1=0.5), optax.adam(2e-2, b1=0.5)
    options = {"penalty": "r1", "penalty_weight": 0.3, "ema_decay": 0.99}
    model = make(Affine(), Quadratic(), rates, shape=(1,), latent=1, loss=loss, **options)
    sampler = lambda key: 1.0 + 0.5 * jax.random.normal(key, (256, 1))
    state, metrics = jax.jit(lambda key: run_steps(model, sampler, key, 1200))(key)
    found = state.ema["params"]
    assert abs(found["mean"][0] - 1.0) < 0.1
    assert abs(jnp.exp(found["log_std"][0]) - 0.5) < 0.1
    assert all(jnp.isfinite(values).all() for values in metrics.values())


OPTIMAL = {
    "lsgan": lambda log_u: 1 / (1 + np.exp(-log_u)),
    "f_squared_hellinger": lambda log_u: log_u / 2,
}


@pytest.mark.parametrize("loss", OPTIMAL)
def test_the_critic_of_a_generator_at_rest_is_the_optimal_one(key, optimized, loss):
    """N(0.8, 1) against N(0, 1): log(p / q) = 0.8 x - 0.32; a network, two updates per step."""
    parts = gan.make_parts(
        Affine(), MLPCritic((24,)),
        optax.set_to_zero(), optax.adam(optax.cosine_decay_schedule(1e-2, 600)),
        gan.Options(shape=(1,), latent=1, loss=loss, n_critic=2),
    )  # fmt: skip
    model = gan.of_parts(parts)
    sampler = lambda key: 0.8 + jax.random.normal(key, (1024, 1))
    state, _ = jax.jit(lambda key: run_steps(model, sampler, key, 300))(key)
    x = np.linspace(-1.5, 2.3, 39, dtype=np.float32)[:, None]
    found = judgement_of(parts, state, jnp.asarray(x)).score
    assert np.abs(found - OPTIMAL[loss](0.8 * x[:, 0] - 0.32)).mean() < 0.1
    assert np.abs(found - OPTIMAL[loss](0.32 - 0.8 * x[:, 0])).mean() > 0.3  # planted: exchanged


class Point(nn.Module):
    """The generator of the Dirac-GAN: always its parameter."""

    @nn.compact
    def __call__(self, z, label=None, *, train=False):
        return jnp.broadcast_to(self.param("x", nn.initializers.ones, (1,)), (len(z), 1))


class Slope(nn.Module):
    """The critic of the Dirac-GAN: w x."""

    @nn.compact
    def __call__(self, x, label=None, *, train=False):
        return Judgement(x[:, 0] * self.param("w", nn.initializers.zeros, (1,)), x)


@pytest.mark.parametrize("cure", [{}, {"penalty": "r1"}, {"consensus": 1.0}], ids=str)
def test_the_dirac_gan_turns_for_ever_until_it_is_cured(key, optimized, cure):
    """mescheder2018: alternating descent keeps its distance from (0, 0), R1 and consensus go there.

    By the eigenvalues of one linearised step at the equilibrium, too: on the circle, or inside. The
    hinge loss is bilinear near it, so that nothing of higher order helps.
    """
    rates = optax.sgd(0.2), optax.sgd(0.2)
    model = make(Point(), Slope(), rates, shape=(1,), latent=1, loss="hinge", **cure)
    sampler = lambda key: jnp.zeros((1, 1))
    state, _ = jax.jit(lambda key: run_steps(model, sampler, key, 400))(key)
    distance = float(jnp.hypot(state.generator["x"][0], state.critic["w"][0]))
    assert distance < 1e-3 if cure else distance > 0.8

    def step(v):
        moved = state._replace(generator={"x": v[:1]}, critic={"w": v[1:]})
        after, _ = model.step(key, moved, {"x": sampler(key)})
        return jnp.concatenate([after.generator["x"], after.critic["w"]])

    radius = np.abs(np.linalg.eigvals(jax.jit(jax.jacfwd(step))(jnp.zeros(2)))).max()
    assert radius < 0.99 if cure else abs(radius - 1) < 1e-5


def test_instance_noise_cures_the_dirac_gan_too(key, optimized):
    rates = optax.sgd(0.2), optax.sgd(0.2)
    model = make(Point(), Slope(), rates, shape=(1,), latent=1, instance_noise=1.0)
    sampler = lambda key: jnp.zeros((512, 1))
    state, _ = jax.jit(lambda key: run_steps(model, sampler, key, 400))(key)
    assert jnp.hypot(state.generator["x"][0], state.critic["w"][0]) < 0.2


CARRIED = {
    "statistics": {"critic": Normalised()},
    "began": {"critic": Reconstruction(), "loss": "began", "balance_rate": 0.5},
}


@pytest.mark.parametrize("name", CARRIED)
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, name, count_traces):
    """k, power iterations, running statistics and averages included; one trace."""
    model = make(**CARRIED[name])
    counted = count_traces(model.step)
    fit = partial(training.fit, jax.random.key(4), model._replace(step=counted), normal_data())
    whole = fit(steps=6, **QUIET)
    assert counted.calls == 2  # one for the metrics' names
    fit(steps=3, directory=tmp_path, **QUIET)
    assert bits(fit(steps=6, directory=tmp_path, **QUIET)) == bits(whole)
    if name == "began":  # planted: a lost balance is another run
        batch, step = {"x": jnp.asarray(normal_data()["x"][:24])}, jax.jit(model.step)
        lost = whole._replace(balance=jnp.zeros(()))
        after = [step(jax.random.key(0), state, batch)[0].critic for state in (whole, lost)]
        assert whole.balance > 0
        assert bits(after[0]) != bits(after[1])


def test_spectral_vectors_move_once_per_critic_update(key):
    """With a critic at rest: 10 iterations at the start, then n_critic per step, as in NumPy."""
    rates = ADAM, optax.set_to_zero()
    model = make(critic=MLPCritic((4,), spectral=True), rates=rates, n_critic=3)
    batch = {"x": jnp.asarray(normal_data()["x"][:24])}
    state = jax.jit(model.init)(key, batch)
    after, _ = jax.jit(model.step)(key, state, batch)
    w = np.asarray(state.critic["Dense_0"]["kernel"], np.float64)
    first = lambda s: next(
        np.asarray(v, np.float64)
        for path, v in jax.tree_util.tree_flatten_with_path(s.critic_stats)[0]
        if "Dense_0/kernel/u" in jax.tree_util.keystr(path)
    )
    u = first(state)
    for _ in range(3):
        u = u @ w.T @ w
        u = u / np.linalg.norm(u)
    np.testing.assert_allclose(first(after), u, atol=1e-5)


def test_statistics_are_of_real_and_generated_examples(key):
    """A critic's running mean moves half way to the mean of both kinds; sampling moves nothing."""
    rates = optax.set_to_zero(), optax.set_to_zero()
    model = make(Affine(), Normalised(), rates, latent=2)
    batch = {"x": jnp.asarray(normal_data()["x"][:24]) + 6}
    state = jax.jit(model.init)(key, batch)
    after, _ = jax.jit(model.step)(key, state, batch)
    mean = after.critic_stats["batch_stats"]["BatchNorm_0"]["mean"]
    real = 0.5 * np.asarray(batch["x"]).mean(0)
    assert np.abs(mean - real / 2).max() < 0.3  # generated examples have mean 0 +- 0.2


def test_the_average_samples_and_follows_the_generator(key):
    model = make(Affine(), latent=2, ema_decay=0.5)
    batch = {"x": jnp.asarray(normal_data()["x"][:24]) + 1}
    state = jax.jit(model.init)(key, batch)
    after, _ = jax.jit(model.step)(key, state, batch)
    before, now = state.generator["mean"], after.generator["mean"]
    np.testing.assert_allclose(
        after.ema["params"]["mean"], before + 0.9 * (now - before), rtol=1e-5
    )
    keys = jax.random.split(key, 5)
    x = model.sample(keys, after, 5)
    np.testing.assert_allclose(x[1:3], model.sample(keys[1:3], after, 2), rtol=1e-6)
    far = after._replace(ema=jax.tree.map(lambda v: v + 5, after.ema))
    assert (model.sample(keys, far, 5) != x).all()


def test_the_balance_follows_its_rule(key):
    model = make(critic=Reconstruction(), loss="began", balance_rate=0.5, diversity=0.7)
    batch = {"x": 3 * jnp.asarray(normal_data()["x"][:24])}
    state = jax.jit(model.init)(key, batch)
    step = jax.jit(model.step)
    for i in range(3):
        after, m = step(jax.random.key(i), state, batch)
        k = next_balance(state.balance, m["real_score"], m["fake_score"], 0.7, 0.5)
        np.testing.assert_allclose(after.balance, k, rtol=1e-6)
        assert m["balance"] == after.balance
        state = after
    assert 0 < state.balance <= 1


def test_a_critic_that_is_too_strong_rests(key):
    model = make(critic=MLPCritic((8,)), freeze_above=0.5)
    batch = {"x": jnp.asarray(normal_data()["x"][:24]) + 5}  # easily told apart
    state = jax.jit(model.init)(key, batch)
    step = jax.jit(model.step)
    frozen = []
    for i in range(20):
        after, m = step(jax.random.key(i), state, batch)
        assert m["critic_frozen"] == (m["critic_accuracy"] > 0.5)
        assert (bits(after.critic) == bits(state.critic)) == bool(m["critic_frozen"])
        frozen.append(float(m["critic_frozen"]))
        state = after
    assert sum(frozen)


REMEDIES = {
    "accumulate": {"accumulate": 2},
    "lazy": {"penalty": "r1", "penalty_every": 2},
    "clip": {"loss": "wgan", "clip": 0.01, "n_critic": 3},
    "consensus": {"consensus": 0.1},
    "unroll": {"unroll": 2},
    "feature_matching": {"feature_matching": 1.0, "adversarial": 0.0},
    "orthogonal": {"orthogonal": 1e-3},
    "noise": {"instance_noise": 0.1, "instance_noise_steps": 10},
    "minibatch": {"critic": MLPCritic((8,), minibatch="discrimination")},
    "lipschitz": {"critic": LipschitzCritic((8,)), "loss": "wgan"},
}


@pytest.mark.parametrize("name", REMEDIES)
def test_every_remedy_makes_finite_steps(key, name):
    """The form of the state is kept; a clipped critic stays in its box."""
    model = make(**REMEDIES[name])
    batch = {"x": jnp.asarray(normal_data()["x"][:24])}
    state = jax.jit(model.init)(key, batch)
    after, metrics = jax.jit(model.step)(key, state, batch)
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert form(after) == form(state)
    assert all(jnp.isfinite(value) for value in metrics.values())
    assert bits(after.generator) != bits(state.generator)
    if name == "clip":
        assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(after.critic)) <= 0.01
    if name == "lazy":
        step = jax.jit(model.step)
        _, later = step(key, after, batch)
        assert later["penalty"] == 0
        always = make(**REMEDIES[name] | {"penalty_every": 1})
        _, plain = jax.jit(always.step)(key, state, batch)
        np.testing.assert_allclose(metrics["penalty"], 2 * plain["penalty"], rtol=1e-5)
        assert metrics["penalty"] > 0


def dirac(critic=None, rates=None, **options):
    """One step of the Dirac-GAN with data at 3; (state, metrics) after it."""
    rates = rates or (optax.sgd(0.1), optax.set_to_zero())
    model = make(Point(), critic or Slope(), rates, shape=(1,), latent=1, **options)
    batch = {"x": jnp.full((4, 1), 3.0)}
    state = model.init(jax.random.key(0), batch)
    return jax.jit(model.step)(jax.random.key(1), state, batch)


@pytest.mark.parametrize(
    ("more", "slope", "moved"),
    [({}, 2.0, 2), ({"clip": 0.1}, 0.1, 0), ({"freeze_above": 0.5}, 2.0, 0)],
    ids=["free", "clipped", "frozen"],
)
def test_the_unrolled_critic_takes_the_steps_that_the_critic_takes(more, slope, moved):
    """WGAN, data at 3, point at x = 1, both at rate 1: each step adds 3 - x to the slope w.

    Two steps ahead the generator's loss is -(w + 2 (3 - x)) x. A clipped slope stays at its bound;
    a critic that ranks every pair right, as after its first step, stays as it is.
    """
    rates = optax.sgd(1.0), optax.sgd(1.0)
    _, metrics = dirac(rates=rates, loss=gan.GAN_LOSSES["wgan"], unroll=2, **more)
    loss = lambda x: -(slope + moved * (3 - x)) * x
    np.testing.assert_allclose(metrics["generator_loss"], loss(1.0), rtol=1e-6)
    found = metrics["generator_gradient"]
    np.testing.assert_allclose(found, abs(jax.grad(loss)(1.0)), rtol=1e-6)


def test_feature_matching_has_its_weight():
    """The feature of the slope is x: (3 - x)^2 at x = 1, a rate of 0.1, a weight of 0.25."""
    after, metrics = dirac(feature_matching=0.25, adversarial=0.0)
    np.testing.assert_allclose(metrics["feature_matching"], 4.0, rtol=1e-6)
    np.testing.assert_allclose(after.generator["x"], 1 + 0.1 * 0.25 * 4, rtol=1e-6)


class Matrix(nn.Module):
    """x = z W, W with the columns (1, 0) and (1, 1) at the start."""

    @nn.compact
    def __call__(self, z, label=None, *, train=False):
        return z @ self.param("w", lambda key: jnp.array([[1.0, 1.0], [0.0, 1.0]]))


def test_orthogonality_has_its_weight():
    """The overlap of both columns is 1; against a critic of zeros nothing else moves them."""
    rates = optax.sgd(0.1), optax.set_to_zero()
    model = make(Matrix(), Quadratic(), rates, shape=(2,), latent=2, orthogonal=0.3)
    batch = {"x": jnp.ones((4, 2))}
    state = model.init(jax.random.key(0), batch)
    after, _ = jax.jit(model.step)(jax.random.key(1), state, batch)
    gradient = 2 * np.array([[1.0, 1.0], [1.0, 0.0]])  # of (w_1 . w_2)^2: 2 (w_2, w_1)
    expected = state.generator["w"] - 0.1 * 0.3 * gradient
    np.testing.assert_allclose(after.generator["w"], expected, rtol=1e-6)


def test_an_accumulated_step_sees_parts_and_keeps_whole_numbers():
    """The same step of the Dirac-GAN, though never the whole batch is judged; a state with a count,
    as StyleGAN has of its mean styles, keeps its form."""
    sizes = set()

    class Counted(Slope):
        @nn.compact
        def __call__(self, x, label=None, *, train=False):
            sizes.add(len(x)) if train else None
            return Judgement(x[:, 0] * self.param("w", nn.initializers.zeros, (1,)), x)

    rates = optax.sgd(0.1), optax.sgd(0.1)
    whole, _ = dirac(rates=rates)
    parts, _ = dirac(Counted(), rates=rates, accumulate=2)
    assert sizes == {2}
    for name in ("generator", "critic"):
        a, b = (jax.tree.leaves(getattr(state, name))[0] for state in (whole, parts))
        np.testing.assert_allclose(a, b, rtol=1e-6)

    shape = (2, 2, 1)
    networks = StyleGenerator(shape, (2,), style=2, depth=1), StyleCritic((2,), features=2)
    model = make(*networks, shape=shape, accumulate=2)
    batch = {"x": jnp.zeros((4, *shape))}
    state = jax.eval_shape(model.init, jax.random.key(0), batch)
    after, _ = jax.eval_shape(model.step, jax.random.key(1), state, batch)
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert form(after) == form(state)


def labelled_batch(key, n=96):
    """Three classes on a line, 3 apart."""
    y = jax.random.randint(key, (n,), 0, 3)
    x = 0.3 * jax.random.normal(jax.random.fold_in(key, 1), (n, 2))
    return {"x": x + jnp.stack([3.0 * y - 3, 0.0 * y], 1), "y": y}


def test_samples_have_the_label_that_was_asked_for(key, optimized):
    model = make(
        MLPGenerator((2,), (32,), num_classes=3), Classifier(), conditional="ac", num_classes=3,
        penalty="r1", penalty_weight=0.3, ema_decay=0.99,
    )  # fmt: skip
    state, _ = jax.jit(lambda key: run_steps(model, labelled_batch, key, 400))(key)
    label = jnp.arange(300) % 3
    x = jax.jit(lambda key: model.sample(key, state, 300, label=label))(jax.random.key(1))
    nearest = np.abs(np.asarray(x)[:, :1] - np.array([-3.0, 0.0, 3.0])).argmin(1)
    assert (nearest == np.asarray(label)).mean() > 0.95
    drawn = np.asarray(model.sample(jax.random.key(2), state, 300))[:, :1]
    shares = np.bincount(np.abs(drawn - np.array([-3.0, 0.0, 3.0])).argmin(1), minlength=3) / 300
    assert np.abs(shares - 1 / 3).max() < 0.15


def test_codes_and_truncation(key):
    """A code given is the code used; truncated latents are of the normal law between the ends."""
    model = make(Affine(), Classifier(), latent=4, shape=(7,), conditional="info", code=(2, 1))
    state = jax.jit(model.init)(key, {"x": jnp.zeros((4, 7))})
    code = jnp.array([0.0, 1.0, -0.25])
    x = np.asarray(model.sample(key, state, 4000, code=code, truncation=0.7))
    np.testing.assert_allclose(x[:, 4:], np.broadcast_to(code, (4000, 3)), rtol=1e-6)
    assert np.abs(x[:, :4]).max() <= 0.7
    cut = (norm.cdf(x[:, :4]) - norm.cdf(-0.7)) / (norm.cdf(0.7) - norm.cdf(-0.7))
    assert abs(cut.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 16_000)
    assert abs(cut.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / 16_000)
    drawn = np.asarray(model.sample(key, state, 4000))[:, 4:]
    np.testing.assert_array_equal(drawn[:, :2].sum(1), 1)
    assert abs(drawn[:, 0].mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert np.abs(drawn[:, 2]).max() <= 1


def test_a_code_is_recovered(key, optimized):
    """InfoGAN on clusters: the critic names the category of what it is shown."""
    parts = gan.make_parts(
        MLPGenerator((2,), (32,)), Classifier(), ADAM, ADAM,
        gan.Options((2,), 2, conditional="info", code=(2, 1), penalty="r1", ema_decay=0.9),
    )  # fmt: skip
    model, ends = gan.of_parts(parts), lambda key: labelled_batch(key)["x"]
    state, _ = jax.jit(lambda key: run_steps(model, ends, key, 300))(key)
    category = jnp.arange(200) % 2
    code = jnp.concatenate([jax.nn.one_hot(category, 2), jnp.zeros((200, 1))], 1)
    samples = model.sample(jax.random.key(1), state, 200, code=code)
    named = judgement_of(parts, state, samples).code[:, :2].argmax(1)
    assert (named == category).mean() > 0.9


def test_images_pass_transform_and_augmentation(key):
    """uint8 in and out; the generator learns through the augmentation."""
    shape = (4, 4, 1)
    networks = MLPGenerator(shape, (8,), bounded=True), MLPCritic((8,))
    options = {"shape": shape, "transform": symmetric_images(), "penalty": "r1"}
    batch = {"x": jax.random.randint(key, (6, *shape), 0, 256).astype(jnp.uint8)}
    model = make(*networks, **options, augment=("color", "translation", "cutout"))
    state = jax.jit(model.init)(key, batch)
    after, metrics = jax.jit(model.step)(key, state, batch)
    assert all(jnp.isfinite(value) for value in metrics.values())
    assert bits(after.generator) != bits(state.generator)  # the gradient passes back through it
    made = model.sample(key, state, 3)
    assert (made.shape, made.dtype) == ((3, *shape), jnp.uint8)
