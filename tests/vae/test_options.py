"""Every option of every model of the family changes the loss, or is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, vae
from gen_jax.errors import ConfigError
from gen_jax.vae.model import init_state, loss_inputs
from gen_jax.vae.options import OPTIONAL

CHANGES = {
    "prior": "gaussian_mixture",
    "num_samples": 3,
    "kl": "monte_carlo",
    "beta": 2.0,
    "warm_up": 10,
    "free_bits": 5.0,
    "weight": 3.0,
}
"""Another value of each of OPTIONAL that a loss can read."""

NETWORK = vae.mlp((4,))


def loss_of(key, variant, **options):
    """The losses of coder and critic where every weight counts, after one step of warm-up."""
    own = {"shape": (3,), "latent": 2, "likelihood": "gaussian", **options}
    parts = vae.make_parts(NETWORK, NETWORK, optax.sgd(0.1), vae.Options(**own), variant)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    params = init_state(parts, key, {"x": x}).params
    params = jax.tree.map(
        lambda p: p + 0.1 + 0.2 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), params
    )
    case = loss_inputs(parts, params, {"x": x}, key, 1, lambda z: (jnp.square(z).sum(-1), z))
    of_coder, of_critic = vae.VARIANTS[variant].loss, vae.VARIANTS[variant].critic_loss
    judged = of_critic(key, case).mean() if of_critic else 0.0
    return np.array([of_coder(key, case)[0].mean(), judged])


def test_the_table_is_whole():
    assert CHANGES.keys() == set(OPTIONAL) - {"evaluation_samples"}


@pytest.mark.parametrize("variant", vae.VARIANTS)
def test_an_option_of_a_variant_changes_the_loss_or_is_refused(key, variant):
    plain, reads = loss_of(key, variant), vae.VARIANTS[variant].reads
    for name, value in CHANGES.items():
        if name in reads:
            assert np.abs(loss_of(key, variant, **{name: value}) - plain).max() > 1e-4, name
        else:
            with pytest.raises(ConfigError, match=rf"{name}=.*{variant}.*it is by"):
                loss_of(key, variant, **{name: value})
    no_bound = vae.VARIANTS[variant].deterministic
    assert ("evaluation_samples" in reads) != no_bound
    if no_bound:
        with pytest.raises(ConfigError, match=r"evaluation_samples=9.*vae, iwae"):
            loss_of(key, variant, evaluation_samples=9)


def test_a_critics_optimizer_needs_a_critic():
    with pytest.raises(ConfigError, match="critic_optimizer.*no critic"):
        vae.vae(
            *[NETWORK] * 2, optax.sgd(0.1), shape=(3,), latent=2, critic_optimizer=optax.sgd(0.1)
        )


VECTORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
BINARY = (VECTORS > 0).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
LABELS = jnp.array([0, 2, 1, 2, 2, 0])  # 2: not known


def ladder(**options):
    own = {"shape": (3,), "latents": (1, 2), "width": 4, **options}
    return vae.hierarchical_vae(optax.adam(0.1), **own)


def discrete(**options):
    own = {"shape": (3,), "variables": 2, "classes": 3, **options}
    return vae.discrete_vae(NETWORK, NETWORK, optax.adam(0.1), **own)


def vector_quantised(**options):
    own = {"shape": (4, 4, 1), "codes": 4, "dim": 2, "width": 4, "halvings": 1, **options}
    return vae.vqvae(optax.adam(0.1), **own)


def semi_supervised(**options):
    own = {"shape": (3,), "latent": 2, "likelihood": "gaussian", **options}
    own["condition"] = conditions.labels(2)
    return vae.semi_supervised(*[NETWORK] * 3, optax.adam(0.1), **own)


OTHERS = {
    ladder: (BINARY, {"beta": 2.0, "warm_up": 10, "free_bits": 5.0}),
    discrete: (
        BINARY,
        {
            "beta": 2.0,
            "free_bits": 5.0,
            "temperature": 3.0,
            "final_temperature": 0.01,
            "anneal": 2,
            "hard": True,
        },
    ),
    vector_quantised: (
        IMAGES,
        {"commitment": 2.0, "decay": 0.0, "revive_below": 9.0},
    ),
    semi_supervised: (VECTORS, {k: v for k, v in CHANGES.items() if k != "prior"}),
}
"""Maker -> its data and another value of each hyper-parameter."""


def losses(key, model, x):
    """Of the first three steps: what acts on the state shows in a later one."""
    batch, found = {"x": x, "y": LABELS}, []
    state = model.init(key, batch)
    for _ in range(3):
        state, metrics = model.step(key, state, batch)
        found.append(float(metrics["loss"]))
    return np.array(found)


@pytest.mark.parametrize("make", OTHERS, ids=lambda make: make.__name__)
def test_every_hyper_parameter_of_the_others_changes_the_loss(key, make):
    x, changes = OTHERS[make]
    plain = losses(key, make(), x)
    np.testing.assert_array_equal(losses(key, make(), x), plain)
    for name, value in changes.items():
        assert np.abs(losses(key, make(**{name: value}), x) - plain).max() > 1e-4, name


def test_semi_supervised_has_no_draws_to_evaluate():
    with pytest.raises(ConfigError, match=r"evaluation_samples=9.*semi_supervised"):
        semi_supervised(evaluation_samples=9)
