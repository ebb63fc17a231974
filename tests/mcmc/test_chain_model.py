"""Chains as a generative model: the contract, adaptation that ends, samples go on from chains."""

import chains
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import mcmc
from gen_jax.errors import ConfigError
from gen_jax.mcmc.model import step_size_of
from gen_jax.randomness import fold_in, sample_keys

MAKE = {
    "hmc": lambda f, h: mcmc.hmc(f, h, 2),
    "parallel_tempering": lambda f, h: mcmc.parallel_tempering(
        f, [1.0, 0.4], lambda f: mcmc.random_walk(f, h)
    ),
}


def model_of(name, law, **options):
    make = lambda h: MAKE[name](law.log_density, h)
    return mcmc.markov_chains(law.log_density, make, 2, num_chains=64, kernel_steps=3, **options)


@pytest.mark.parametrize("name", MAKE)
def test_chains_fulfil_the_contract(name, key):
    law = chains.bent_law()
    model = model_of(name, law, adapt=30, target=0.6, log_normalizer=np.log(2 * np.pi))
    state = model.init(key, None)
    step = jax.jit(model.step)
    sizes = []
    for i in range(40):
        state, metrics = step(jax.random.fold_in(key, i), state, None)
        assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
        sizes.append(float(metrics["step_size"]))
    assert len(set(sizes[:30])) > 20
    assert set(sizes[31:]) == {float(step_size_of(state, 30))}
    leading = {leaf.shape[0] for leaf in jax.tree.leaves(state.chains)}
    assert leading == {64}
    whole = model.sample(key, state, 100)
    keys = chains.sample_keys(key, 100)
    np.testing.assert_allclose(model.sample(keys[40:50], state, 10), whole[40:50], rtol=1e-3)
    assert len(np.unique(np.asarray(whole)[:, 0])) > 60
    x = law.sample(key, 5)
    exact = jax.scipy.stats.norm.logpdf(law.scores(x)).sum(1)
    np.testing.assert_allclose(model.log_prob(key, state, x), exact, rtol=1e-5)
    assert model.log_prob_kind == "exact"


def test_samples_of_settled_chains_are_exact(key):
    """20,000 chains after 40 steps from N(0, I), and 2,000 of them 20 steps later."""
    law = chains.bent_law()
    make = lambda h: MAKE["hmc"](law.log_density, h)
    options = {"num_chains": 20_000, "kernel_steps": 20, "step_size": 0.4}
    model = mcmc.markov_chains(law.log_density, make, 2, **options)

    @jax.jit
    def run(key):
        state = model.init(key, None)
        for i in range(2):
            state, _ = model.step(jax.random.fold_in(key, i), state, None)
        return law.scores(state.chains.x), law.scores(model.sample(key, state, 2_000))

    for scores in run(key):
        assert chains.exact.standard_normal_p_value(scores) > chains.FALSE_ALARM


def test_a_scale_is_learnt_and_used(key):
    """Deviations 0.01 and 100; the step and the scale that are reported make the samples."""
    scales = np.array([0.01, 100.0])
    f = lambda x: -0.5 * jnp.sum((x / scales) ** 2, 1)
    make = lambda h, s: mcmc.mala(f, h, scale=s)
    options = {"adapt": 30, "target": 0.574, "learn_scale": True, "kernel_steps": 5}
    model = mcmc.markov_chains(f, make, 2, num_chains=32, **options)
    state, step = model.init(key, None), jax.jit(model.step)
    for i in range(40):
        state, metrics = step(jax.random.fold_in(key, i), state, None)
    np.testing.assert_allclose(state.tuning.scale, scales, rtol=0.05)
    assert float(metrics["acceptance"]) == pytest.approx(0.574, abs=0.12)
    keys = sample_keys(key, 3)
    rows = jax.vmap(lambda k: jax.random.randint(k, (), 0, 32))(fold_in(keys, 0))
    chains = jax.tree.map(lambda leaf: leaf[rows], state.chains)
    kernel = make(step_size_of(state, 30), state.tuning.scale)
    direct = mcmc.advance(fold_in(keys, 1), kernel, chains, 5)[0].x
    found = mcmc.chains(model, state)
    np.testing.assert_allclose(found.scale, scales, rtol=0.05)
    moved = mcmc.advance(fold_in(keys, 1), found.kernel, chains, 5)[0].x
    np.testing.assert_allclose(moved, direct, rtol=1e-5)
    assert found.state.x.shape == (32, 2)
    np.testing.assert_allclose(model.sample(key, state, 3), direct, rtol=1e-5)
    with pytest.raises(ConfigError, match="adapt=0"):
        mcmc.markov_chains(f, make, 2, learn_scale=True)


def test_without_a_constant_there_is_no_likelihood():
    law = chains.bent_law()
    assert model_of("hmc", law).log_prob is None
    with pytest.raises(ConfigError, match="kernel_steps=0"):
        mcmc.markov_chains(law.log_density, lambda h: None, 2, kernel_steps=0)
    with pytest.raises(ConfigError, match="spread=0"):
        model_of("hmc", law, spread=0)
