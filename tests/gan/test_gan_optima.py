"""GANs find known optima: means and deviations, optimal critics, the point of the Dirac GAN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gans import Affine, Point, Quadratic, Slope, make, run_steps

from gen_jax import gan
from gen_jax.gan_nets import MLPCritic


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
    rates = optax.set_to_zero(), optax.adam(optax.cosine_decay_schedule(1e-2, 600))
    options = {"shape": (1,), "latent": 1, "loss": loss, "n_critic": 2}
    model = make(Affine(), MLPCritic((24,)), rates, **options)
    sampler = lambda key: 0.8 + jax.random.normal(key, (1024, 1))
    state, _ = jax.jit(lambda key: run_steps(model, sampler, key, 300))(key)
    x = np.linspace(-1.5, 2.3, 39, dtype=np.float32)[:, None]
    found = gan.critic(model, state)(x).score
    assert np.abs(found - OPTIMAL[loss](0.8 * x[:, 0] - 0.32)).mean() < 0.1
    assert np.abs(found - OPTIMAL[loss](0.32 - 0.8 * x[:, 0])).mean() > 0.3  # planted: exchanged


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
