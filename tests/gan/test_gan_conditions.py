"""Labels and codes of whole GANs, truncation, and images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from small_gans import ADAM, Affine, Classifier, bits, make, run_steps

from gen_jax import conditions, gan
from gen_jax.data.transforms import symmetric_images
from gen_jax.errors import ConfigError
from gen_jax.gan.generate import truncated
from gen_jax.gan.model import init_state
from gen_jax.gan.objectives import UpdateInputs, critic_loss, generator_loss
from gen_jax.gan_nets import MLPCritic, MLPGenerator


def labelled_batch(key, n=96):
    """Three classes on a line, 3 apart."""
    y = jax.random.randint(key, (n,), 0, 3)
    x = 0.3 * jax.random.normal(jax.random.fold_in(key, 1), (n, 2))
    return {"x": x + jnp.stack([3.0 * y - 3, 0.0 * y], 1), "y": y}


def test_samples_have_the_label_that_was_asked_for(key, optimized):
    model = make(
        MLPGenerator((2,), (32,)), Classifier(), conditional="ac", condition=conditions.labels(3),
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


def test_the_critic_of_an_auxiliary_classifier_names_real_and_generated_examples(key):
    """odena2017 eq. 3: a sum of both terms, 2 log 3 of a critic of zeros; one for the generator."""
    options = gan.Options((2,), 2, conditional="ac", condition=conditions.labels(3))
    networks = MLPGenerator((2,), (4,)), Classifier()
    parts, batch = gan.make_parts(*networks, ADAM, ADAM, options), labelled_batch(key, 4)
    state = init_state(parts, key, batch)
    ignorant = jax.tree.map(jnp.zeros_like, state.critic)
    scene = UpdateInputs(key, batch["x"], batch["y"], {}, {}, state.balance, state.step)
    total, (metrics, _) = critic_loss(parts, ignorant, state.generator, scene)
    np.testing.assert_allclose(metrics["class_loss"], 2 * np.log(3), rtol=1e-6)
    np.testing.assert_allclose(total - metrics["critic_loss"], 2 * np.log(3), rtol=1e-5)
    total, (metrics, _) = generator_loss(parts, ignorant, state.generator, scene)
    np.testing.assert_allclose(total - metrics["generator_loss"], np.log(3), rtol=1e-5)


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
    networks, options = (MLPGenerator((2,), (32,)), Classifier()), {"penalty": "r1", "latent": 2}
    model = make(*networks, conditional="info", code=(2, 1), ema_decay=0.9, **options)
    ends = lambda key: labelled_batch(key)["x"]
    state, _ = jax.jit(lambda key: run_steps(model, ends, key, 300))(key)
    category = jnp.arange(200) % 2
    code = jnp.concatenate([jax.nn.one_hot(category, 2), jnp.zeros((200, 1))], 1)
    samples = model.sample(jax.random.key(1), state, 200, code=code)
    named = gan.critic(model, state)(samples).code[:, :2].argmax(1)
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


@pytest.mark.parametrize("truncation", [0.5, 5.0, 40.0])
def test_truncated_latents_of_the_far_tail_are_finite(truncation):
    """Beyond 5.3 a float32 distribution function is 1, and its quantile was infinite."""
    z, low = np.array([[0.0, 1.0, -3.0, 5.4, -5.4]]), norm.cdf(-truncation)
    truth = -np.sign(z) * norm.ppf(low + (1 - 2 * low) * norm.cdf(-np.abs(z)))
    np.testing.assert_allclose(truncated(jnp.asarray(z, jnp.float32), truncation), truth, atol=1e-6)
    slope = jax.grad(lambda z: truncated(z, truncation).sum())(jnp.zeros((1, 1)))
    np.testing.assert_allclose(slope, 1 - 2 * low, rtol=1e-5)


@pytest.mark.parametrize("truncation", [-1.0, jnp.float32(-1), jnp.float32(jnp.nan)])
def test_a_truncation_is_at_least_0_also_as_an_array(key, truncation):
    model = make(MLPGenerator((2,), (4,)), MLPCritic((4,)))
    state = model.init(key, {"x": jnp.zeros((4, 2))})
    with pytest.raises(ConfigError, match="truncation=.* must be (at least 0|a finite number)"):
        model.sample(key, state, 2, truncation=truncation)
