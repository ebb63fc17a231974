"""Every kernel keeps its target; planted bugs do not."""

import inspect
import itertools
from functools import partial

import chains
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chains import FALSE_ALARM, bent_law, exact_start, mixture_law

from gen_jax import mcmc
from gen_jax.errors import ConfigError
from gen_jax.mcmc.hmc import leapfrog
from gen_jax.mcmc.kernel import Proposal, metropolis_kernel

ARGUMENTS = {
    "langevin": (0.1,),
    "mala": (0.15,),
    "hmc": (0.3, 3),
    "parallel_tempering": ([1.0, 0.5, 0.2], lambda f: mcmc.random_walk(f, 0.8)),
}
"""Behind the log-density, so that a half to nine tenths are accepted; of other kernels (0.8,)."""
BIASED = {"langevin"}
"""Kernels that keep their target in the limit of small steps alone."""


def make(name, log_density, **options):
    """The kernel of a name in the registry."""
    arguments = ARGUMENTS.get(name, (0.8,))
    try:
        return mcmc.KERNELS[name](log_density, *arguments, **options)
    except TypeError as error:
        raise TypeError(f"{name!r} needs a row in ARGUMENTS, not {arguments}") from error


def test_rows_are_of_the_registry():
    assert ARGUMENTS.keys() | BIASED <= mcmc.KERNELS.keys()


@pytest.mark.parametrize("name", sorted(mcmc.KERNELS.keys() - BIASED - {"parallel_tempering"}))
def test_exact_starts_stay_exact(name, key):
    """Two modes on the line, and a bent Gaussian in the plane."""
    for law in (mixture_law(), bent_law()):
        assert exact_start(key, make(name, law.log_density), law) > FALSE_ALARM
    wide = bent_law(1.05)  # planted: the target is 5 % too wide
    assert exact_start(key, make(name, wide.log_density), wide, steps=20) < FALSE_ALARM


def test_a_jittered_step_is_exact_and_one_that_looks_at_the_state_is_not(key):
    """Steps drawn from (0, 2 h) keep the target; a step that depends on x alone does not."""
    law = bent_law()
    kernel = mcmc.hmc(law.log_density, 0.4, 3, jitter=1)
    assert exact_start(key, kernel, law) > FALSE_ALARM

    def propose(evaluate, flat, state, z):
        h = 0.4 * (1 + 0.9 * jnp.tanh(flat[:, 0]))
        y, momentum, values, gradient = leapfrog(evaluate, flat, z, state.gradient, h, 3)
        kinetic = 0.5 * jnp.sum(momentum**2 - z**2, 1)
        return Proposal(y, values, gradient, values - state.log_density - kinetic)

    wrong = metropolis_kernel(law.log_density, propose)
    assert exact_start(key, wrong, law) < FALSE_ALARM


SCALED = [name for name, f in mcmc.KERNELS.items() if "scale" in inspect.signature(f).parameters]


@pytest.mark.parametrize("name", SCALED)
def test_a_scale_is_a_change_of_units(x64, name, key):
    """Chains of p(x) with a scale are those of p(scale y) without, times the scale."""
    law, scale = bent_law(), jnp.array([1e-3, 50.0])
    y = law.sample(key, 20)
    stretched = lambda x: law.log_density(x / scale)

    @partial(jax.jit, static_argnums=0)
    def moved(kernel, x):
        state = kernel.init(x)
        for i in range(2):
            state, info = kernel.step(jax.random.fold_in(key, i), state)
        return state, info

    plain, info = moved(make(name, law.log_density), y)
    found, _ = moved(make(name, stretched, scale=scale), scale * y)
    assert 0 < info.accepted.mean() <= 1
    np.testing.assert_allclose(found.x, scale * plain.x, rtol=1e-9)
    if found.gradient is not None:
        np.testing.assert_allclose(found.gradient, plain.gradient / scale, rtol=1e-9)
    if name == "mala":
        tree = lambda x: {"a": x[..., 0], "b": x[..., 1:]}
        joined = lambda p: stretched(jnp.concatenate([p["a"][:, None], p["b"]], 1))
        parts, _ = moved(make(name, joined, scale=tree(scale)), tree(scale * y))
        np.testing.assert_allclose(parts.x["b"], found.x[:, 1:], rtol=1e-9)


def tempered_starts(key, inverse_temperatures, chains):
    """A ladder that is exact at every level: for N(0, I) level b is N(0, I / b)."""
    ladder = []
    for i, b in enumerate(inverse_temperatures):
        ladder.append(jax.random.normal(jax.random.fold_in(key, i), (chains, 2)) / np.sqrt(b))
    return jnp.stack(ladder, 1)


@pytest.mark.parametrize("spread", [1.0, 1.05])
def test_tempering_keeps_the_product_of_its_levels(spread, key):
    """All levels start exact, and end exact after swaps, or with a cold level of 5 % more not."""
    levels, count, f = np.array([1.0, 0.5, 0.2]), 30_000, lambda x: -0.5 * jnp.sum(x**2, 1) / spread
    kernel = mcmc.parallel_tempering(f, levels, lambda f: mcmc.hmc(f, 0.9, 2))
    key_start, key_chain = jax.random.split(key)
    x = tempered_starts(key_start, levels, count)

    @jax.jit
    def run(x, key):
        state = kernel.init(x[:, 0])
        inner = mcmc.hmc(lambda y: -0.5 * jnp.sum(y**2, 1) / spread, 0.9, 2)
        y = (x * jnp.sqrt(levels)[:, None]).reshape(-1, 2)
        apart = lambda a: a.reshape(-1, 3, *a.shape[1:])
        state = state._replace(ladder=jax.tree.map(apart, inner.init(y)))
        state, info = mcmc.advance(key, kernel, state, 20)
        return state.ladder.x, state.x, info.swap_acceptance / 20

    y, cold, swaps = run(x, key_chain)
    exact = chains.exact.standard_normal_p_value
    assert (exact(y) > FALSE_ALARM) == (spread == 1.0)
    np.testing.assert_array_equal(cold, y[:, 0])
    # E min(1, e^(gap (E_i - E_j))) by brute force over the exact law of the energies.
    energy = np.asarray(0.5 * jnp.sum(x**2, 2))
    by_law = [
        np.minimum(1, np.exp((a - b) * (energy[:, i] - energy[:, i + 1]))).mean()
        for i, (a, b) in enumerate(itertools.pairwise(levels))
    ]
    np.testing.assert_allclose(swaps.mean(0), by_law, atol=0.01)


def test_a_missing_hastings_term_is_noticed(key):
    law = mixture_law()

    def propose(evaluate, flat, state, z):
        y = flat + 0.15 * state.gradient + np.sqrt(0.3) * z
        values, gradient = evaluate(y)
        return Proposal(y, values, gradient, values - state.log_density)

    assert exact_start(key, metropolis_kernel(law.log_density, propose), law) < FALSE_ALARM


def test_reused_keys_are_noticed(key):
    """One key for all steps; and acceptance from the noise that made the proposal."""
    law = mixture_law()
    walk = mcmc.random_walk(law.log_density, 0.8)
    assert exact_start(key, walk, law, reuse=True) < FALSE_ALARM

    def step(key, state):
        keys = chains.sample_keys(key, len(state.x))
        z = jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys)
        y = state.x + 0.8 * z
        proposal = mcmc.ChainState(y, law.log_density(y), None)
        uniform = jax.scipy.stats.norm.cdf(z[:, 0])
        return mcmc.metropolis(uniform, state, proposal, proposal.log_density - state.log_density)

    assert exact_start(key, mcmc.Kernel(walk.init, step), law) < FALSE_ALARM


def test_mala_is_hmc_with_one_step(x64, key):
    """x + h g + sqrt(2 h) z is a leapfrog step of sqrt(2 h), its Hastings ratio the energy's."""
    law = bent_law()
    x = law.sample(key, 50)
    one, other = (
        mcmc.mala(law.log_density, 0.3),
        mcmc.hmc(law.log_density, np.sqrt(0.6), 1, jitter=0),
    )
    (a, info_a), (b, info_b) = (k.step(key, k.init(x)) for k in (one, other))
    np.testing.assert_allclose(info_a.acceptance, info_b.acceptance, rtol=1e-9)
    np.testing.assert_allclose(a.x, b.x, rtol=1e-9)


@pytest.mark.parametrize("ratio", [0.1, 1.0])
def test_langevins_bias_is_that_of_its_theory(ratio, key):
    """On N(m, v) it converges to N(m, v / (1 - h / (2 v))), and starts there it stays there."""
    m, v = 1.0, 0.25
    h = ratio * v
    f = lambda x: -0.5 * jnp.sum((x - m) ** 2, 1) / v
    kernel = mcmc.langevin(f, h)
    x = jax.random.normal(key, (30_000, 2)) * 3 + m
    x = jax.jit(lambda key: chains.ends(key, kernel, x, 150))(jax.random.fold_in(key, 1))
    p_value = lambda variance: chains.exact.standard_normal_p_value((x - m) / np.sqrt(variance))
    assert p_value(v / (1 - h / (2 * v))) > FALSE_ALARM
    assert p_value(v) < FALSE_ALARM
    assert p_value(1.05 * v / (1 - h / (2 * v))) < FALSE_ALARM


@pytest.mark.parametrize("name", mcmc.KERNELS)
def test_chains_do_not_depend_on_each_other(name, key, count_traces):
    """Nor on jit; a pytree is the array of its leaves; float64 stays float64."""
    law = bent_law()
    counted = count_traces(law.log_density)
    kernel = make(name, counted)
    x = law.sample(key, 6)
    keys = chains.sample_keys(key, 6)
    whole, info = mcmc.run(key, kernel, x, 5, burn_in=2, thin=2)
    held = jax.jit(lambda key, x: mcmc.run(key, kernel, x, 5, burn_in=2, thin=2)[0])
    np.testing.assert_allclose(held(key, x), whole, rtol=2e-4, atol=1e-5)
    traces = counted.calls
    held(jax.random.key(1), x + 1e-3)
    assert counted.calls == traces
    alone, _ = mcmc.run(keys[2:3], kernel, x[2:3], 5, burn_in=2, thin=2)
    np.testing.assert_allclose(alone[:, 0], whole[:, 2], rtol=2e-4, atol=1e-5)
    assert whole.shape == (5, 6, 2)
    assert info.acceptance.shape == info.invalid.shape == (6,)
    tree = {"a": x[:, 0], "b": x[:, 1:]}
    joined = lambda t: law.log_density(jnp.concatenate([t["a"][:, None], t["b"]], 1))
    parts, _ = mcmc.run(key, make(name, joined), tree, 5, burn_in=2, thin=2)
    together = jnp.concatenate([parts["a"][..., None], parts["b"]], 2)
    np.testing.assert_allclose(together, whole, rtol=2e-4, atol=1e-5)
    with jax.enable_x64(True):
        wide = jax.eval_shape(lambda x: kernel.step(key, kernel.init(x)), np.float64(x))
        assert {part.dtype for part in jax.tree.leaves(wide)} <= {*map(np.dtype, ("f8", "i4", "?"))}


def test_a_log_density_that_reads_another_value_is_read_again(key):
    """A closure over what changes between runs: the second run is one of its new value."""
    mean = {"of": 0.0}
    kernel = mcmc.random_walk(lambda x: -0.5 * jnp.sum((x - mean["of"]) ** 2, 1), 1.0)
    at = lambda: float(mcmc.run(key, kernel, jnp.zeros((200, 1)), 1, burn_in=60)[0].mean())
    before = at()
    mean["of"] = 5.0
    after, (_, info) = at(), mcmc.run(key, kernel, jnp.zeros((200, 1)), 1)
    assert abs(before) < 0.5
    assert abs(after - 5) < 0.5
    mean["of"] = 9.0
    state = kernel.init(info.state.x)  # the density that a state holds is of the old value
    assert float(mcmc.collect(key, kernel, state, 1, 90)[0].mean()) > 7


@pytest.mark.parametrize("name", mcmc.KERNELS)
def test_a_run_is_traced_as_often_whatever_its_length(name, key, count_traces):
    counts = set()
    for steps in (3, 50):
        counted = count_traces(lambda x: -0.5 * jnp.sum(x**2, axis=-1))
        run = partial(mcmc.run, key, make(name, counted), burn_in=steps, num_samples=steps)
        jax.eval_shape(run, jnp.zeros((2, 1)))
        counts.add(counted.calls)
    assert len(counts) == 1


def test_run_keeps_what_it_says(key):
    """Samples are the states of single steps, after burn-in, thinned; info is their mean."""
    law = bent_law()
    kernel = mcmc.random_walk(law.log_density, 1.0)
    x, keys = law.sample(key, 4), chains.sample_keys(key, 4)
    samples, info = mcmc.run(key, kernel, x, 3, burn_in=2, thin=2)
    state, states, acceptance = kernel.init(x), [], []
    for i in range(8):
        state, one = kernel.step(jax.vmap(jax.random.fold_in, (0, None))(keys, i), state)
        states.append(state.x)
        acceptance.append(one.acceptance)
    np.testing.assert_allclose(samples, np.stack(states)[3::2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info.acceptance, np.mean(acceptance[2:], 0), rtol=1e-4)
    np.testing.assert_allclose(info.state.x, state.x, rtol=1e-4, atol=1e-5)


def test_a_scale_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match="scale='a' must be numbers"):
        mcmc.hmc(lambda x: -(x**2).sum(1), 0.1, 2, scale="a")


def test_steps_of_other_chains_are_refused(key):
    kernel = mcmc.hmc(lambda x: -(x**2).sum(1), jnp.full(3, 0.1), 2)
    with pytest.raises(ConfigError, match=r"step_size has shape \(3,\), allowed: \(\) or \(4,\)"):
        kernel.step(key, kernel.init(jnp.zeros((4, 2))))
