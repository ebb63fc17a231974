"""What a trained GAN hands out, and networks that are no Linen modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_gans import ADAM, Affine, Quadratic, make, normal_data

from gen_jax import conditions, diffusion, gan, nets
from gen_jax.data import standardize
from gen_jax.errors import ConfigError
from gen_jax.frozen import given
from gen_jax.gan_nets import MLPCritic, MLPGenerator

BATCH = {"x": jnp.asarray(normal_data()["x"][:24]), "y": jnp.arange(24) % 3}


def plain(key, x, condition):
    """Weights of one hidden layer, from the example's size to `outputs`."""
    one, two = jax.random.split(key)
    w = jax.random.normal(one, (x.shape[1], 8)) / 2
    return {"in": w, "out": jax.random.normal(two, (8, 2)) / 2}


def run(params, x, condition):
    return jnp.tanh(x @ params["in"]) @ params["out"]


class Layer(nnx.Module):
    """A linear map of an input and of nothing else."""

    def __init__(self, size, outputs, rngs):
        self.layer = nnx.Linear(size, outputs, rngs=rngs)

    def __call__(self, x, condition):
        return self.layer(x)


OUTSIDE = {
    "functions": (
        nets.from_functions(plain, run),
        nets.from_functions(plain, lambda params, x, condition: run(params, x, condition)[:, 0]),
    ),
    "nnx": (nets.from_nnx(lambda rngs: Layer(3, 2, rngs)), Quadratic()),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_networks_that_are_no_linen_modules_train_and_sample(kind):
    """The generator's step is the gradient's, by autodiff of the same functions by hand."""
    model = make(*OUTSIDE[kind], penalty="r1")
    state = model.init(jax.random.key(0), BATCH)
    after, metrics = jax.jit(model.step)(jax.random.key(1), state, BATCH)
    assert all(np.isfinite(value) for value in metrics.values())
    for name in ("generator", "critic"):
        moved = jax.tree.map(np.array_equal, getattr(state, name), getattr(after, name))
        assert not all(jax.tree.leaves(moved)), name
    z = gan.latents(jax.random.key(2), model, after, 5)
    weights = after.ema["params"]
    kernel = {"functions": lambda: run(weights, z, None)}.get(
        kind, lambda: z @ weights["layer"]["kernel"] + weights["layer"]["bias"]
    )
    np.testing.assert_allclose(model.sample(jax.random.key(2), after, 5), kernel(), rtol=1e-5)
    assert gan.critic(model, after)(BATCH["x"]).score.shape == (24,)


@pytest.fixture(scope="module")
def labelled():
    """A conditional model in other units, and its state after a step."""
    model = make(
        MLPGenerator((2,), (8,)), MLPCritic((8,), "projection"), conditional="projection",
        condition=conditions.labels(3), transform=standardize(3.0, 2.0),
    )  # fmt: skip
    state = jax.jit(model.init)(jax.random.key(0), BATCH)
    return model, jax.jit(model.step)(jax.random.key(1), state, BATCH)[0]


def test_the_generator_is_the_sampler_taken_apart(labelled):
    model, state = labelled
    key, label = jax.random.key(3), jnp.array([0, 2, 1, 1])
    drawn = model.sample(key, state, 4, label=label, truncation=0.5)
    z = gan.latents(key, model, state, 4, truncation=0.5)
    assert np.abs(z).max() <= 0.5
    make_ = gan.generator(model, state, label=label)
    np.testing.assert_allclose(make_(z), drawn, rtol=1e-5)
    keys = jax.random.split(key, 4)
    np.testing.assert_allclose(
        gan.generator(model, state, label=1)(keys), model.sample(keys, state, 4, label=1), rtol=1e-5
    )
    network = model.parts.generator  # in its own units, by hand
    np.testing.assert_allclose(drawn, 3 + 2 * network.apply(state.ema, z, label), rtol=1e-5)


def test_the_critic_is_asked_in_data_units(labelled):
    model, state = labelled
    x = np.asarray(BATCH["x"][:4])
    found = gan.critic(model, state, label=2)(x)
    u = jnp.asarray((x - 3) / 2)
    raw = model.parts.critic.apply({"params": state.critic}, u, jnp.full(4, 2))
    np.testing.assert_allclose(found.score, raw.score, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="label is needed"):
        gan.critic(model, state)(x)
    with pytest.raises(ConfigError, match="'labels'.*did you mean 'label'"):
        gan.critic(model, state, labels=2)(x)


def test_what_sample_takes_is_declared(labelled):
    assert labelled[0].conditions == {"label": "per sample", "truncation": "shared"}
    assert make().conditions == {"truncation": "shared"}
    coded = make(Affine(), critic=MLPCritic((8,), "info", codes=2), conditional="info", code=(2, 0))
    assert coded.conditions == {"code": "per sample", "truncation": "shared"}
    with pytest.raises(ConfigError, match="code"):
        make().sample(jax.random.key(0), None, 3, code=jnp.zeros(3))


def test_frozen_models_and_other_families(labelled):
    model, state = labelled
    frozen = given({"scale": jnp.ones(())}, lambda frozen: model)
    held = frozen.init(jax.random.key(0), BATCH)._replace(own=state)
    z = gan.latents(jax.random.key(1), frozen, held, 3)
    np.testing.assert_array_equal(
        gan.generator(frozen, held, label=0)(z), gan.generator(model, state, label=0)(z)
    )
    other = diffusion.diffusion(nets.MLP((8,)), "linear", ADAM, shape=(2,))
    with pytest.raises(ConfigError, match="must be a model of gen_jax.gan"):
        gan.generator(other, other.init(jax.random.key(0), BATCH))
