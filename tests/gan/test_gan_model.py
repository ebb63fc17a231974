"""What a GAN carries from step to step: resuming, collections, averages, balance, rests."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gans import ADAM, QUIET, Affine, Normalised, Reconstruction, bits, make, normal_data

from gen_jax import training
from gen_jax.gan.began import next_balance
from gen_jax.gan_nets import MLPCritic

CARRIED = {
    "statistics": {"critic": Normalised()},
    "began": {"critic": Reconstruction(), "loss": "began", "balance_rate": 0.5},
}


@pytest.mark.usefixtures("as_users_compile")
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
    batch = {"x": jnp.asarray(normal_data()["x"][:24]) + 5}  # easily separated
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
