"""Energy models as a whole: closed forms for a linear tilt, resuming, spectral norms, JEM."""

import inspect
from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy.stats import norm

from gen_jax import conditions, diffusion, energy, training
from gen_jax.data.transforms import standardize, symmetric_images
from gen_jax.divergences.quadrature import integrate
from gen_jax.energy import Annealing, ChainOptions
from gen_jax.energy.ncsn import ladder
from gen_jax.energy.normalizer import anneal
from gen_jax.errors import ConfigError, DataError, NumericalError
from gen_jax.nets import EnergyNet
from gen_jax.paths import ve

MEAN = np.array([0.6, -0.3], np.float32)
SHORT = Annealing(levels=40, step_size=0.25, leapfrog=4, chains=512)
CHAINS = ChainOptions(num_steps=10, step_size=0.1, buffer_size=400, sample_steps=20)
QUIET = {"batch_size": 200, "progress": False}


class Linear(nn.Module):
    """F(x) = w . x, which tilts N(0, I) to N(-w, I) with log Z = |w|^2 / 2."""

    @nn.compact
    def __call__(self, x, train=False):
        return x @ self.param("w", nn.initializers.zeros, x.shape[1:])


METHODS = {
    "ebm": partial(energy.ebm, chains=CHAINS),
    "sliced": partial(energy.score_model, loss="sliced"),
    "nce": energy.nce,
}


@pytest.fixture(scope="module")
def data():
    x = MEAN + np.random.default_rng(0).normal(size=(4000, 2))
    return {"x": x.astype(np.float32)}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_maximum_likelihood_tilt(data, name, count_traces):
    """Data N(m, I), base N(0, I): the best w is minus the data's mean. Then log p, the samples, and
    that no example depends on another."""
    optimizer = optax.sgd(optax.linear_schedule(0.5, 0.01, 150))
    model = METHODS[name](Linear(), optimizer, shape=(2,), ema_decay=0.0, annealing=SHORT)
    counted = count_traces(model.step)
    run = partial(training.fit, jax.random.key(1), model._replace(step=counted), data)
    state = run(steps=150, **QUIET)
    assert counted.calls == 2  # one for the metrics' names
    w = np.asarray(state.params["network"]["w"])
    assert np.abs(w + data["x"].mean(0)).max() < 0.12
    x = np.array([[0.0, 0.0], [1.0, -2.0], [-0.5, 0.4]], np.float32)
    exact = norm.logpdf(x + w).sum(1)
    log_prob = jax.jit(model.log_prob)
    found = log_prob(jax.random.key(5), state, x)
    np.testing.assert_allclose(found, exact, atol=0.15 if name == "nce" else 0.03)
    keys = jax.random.split(jax.random.key(2), 1500)
    sample = jax.jit(lambda keys, state: model.sample(keys, state, len(keys)))
    samples = np.asarray(sample(keys, state))
    assert np.abs(samples.mean(0) + w).max() < 0.2
    assert np.abs(samples.var(0) - 1).max() < 0.25
    if name in ("ebm", "nce"):
        np.testing.assert_allclose(sample(keys[2:3], state)[0], samples[2], rtol=1e-3, atol=1e-4)
        alone = log_prob(jax.random.key(9), state, x[1:2])
        np.testing.assert_allclose(alone[0], found[1], rtol=1e-4)


@pytest.mark.parametrize("name", [*energy.SCORE_LOSSES, "short_run"])
def test_every_loss_makes_a_step_on_images(name):
    """The form of the state is kept; short runs have no buffer."""
    settings = {"shape": (4, 4, 1), "transform": symmetric_images(), "data_noise": 0.1}
    network, optimizer = EnergyNet(features=(4,), channels=(4,)), optax.sgd(0.1)
    if name == "short_run":
        model = energy.ebm(network, optimizer, chains=CHAINS._replace(buffer_size=0), **settings)
    else:
        model = energy.score_model(network, optimizer, loss=name, **settings)
    batch = {"x": jnp.zeros((3, 4, 4, 1), jnp.uint8)}
    state = jax.eval_shape(model.init, jax.random.key(0), batch)
    after, metrics = jax.eval_shape(model.step, jax.random.key(0), state, batch)
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert form(after) == form(state)
    assert state.buffer is None
    assert metrics["loss"].shape == ()
    made = jax.eval_shape(lambda key, state: model.sample(key, state, 2), jax.random.key(0), state)
    assert (made.shape, made.dtype) == ((2, 4, 4, 1), jnp.uint8)


def bits(state):
    raw = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(raw(leaf)).tobytes() for leaf in jax.tree.leaves(state)]


NETWORK = EnergyNet(features=(), spectral=2.0)


@pytest.fixture(scope="module")
def bounded(data, module_as_users_compile):
    """A model with spectral norms, its training and its state after 30 steps."""
    few = CHAINS._replace(num_steps=2, sample_steps=2)
    model = energy.ebm(NETWORK, optax.adam(1e-2), chains=few, shape=(2,), regulariser=0.1)
    fit = partial(training.fit, jax.random.key(4), model, data, **QUIET)
    return model, fit, fit(steps=30)


def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, data, bounded):
    """Buffer, power iterations and key included; an empty buffer in their place differs."""
    model, fit, whole = bounded
    fit(steps=15, directory=tmp_path)
    resumed = fit(steps=30, directory=tmp_path)
    assert bits(resumed) == bits(whole)
    assert whole.buffer.shape == (400, 2)
    step, batch = jax.jit(model.step), {"x": jnp.asarray(data["x"][:200])}
    emptied = whole._replace(buffer=jnp.zeros_like(whole.buffer))
    after = [step(jax.random.key(0), state, batch)[0] for state in (whole, emptied)]
    assert bits(after[0].params) != bits(after[1].params)
    assert bits(after[0].stats) != bits(whole.stats)  # one power iteration more


def test_spectral_norms_are_bounded(bounded):
    """A linear F stretches by 2, whatever its matrix; that of training is not of norm 2."""
    model, _, state = bounded
    kernel = state.params["network"]["Bounded_0"]["Dense_0"]["kernel"]
    slope = -energy.score(model, state)(jnp.zeros((1, 2)))  # at 0 the base is flat
    assert np.linalg.norm(slope) == pytest.approx(2, rel=1e-3)
    assert abs(np.linalg.norm(kernel) - 2) > 0.05


def test_log_z_against_quadrature(key):
    """A random network's log Z, within 5.03 standard errors."""
    network = EnergyNet(features=(8,))
    model = energy.score_model(network, optax.sgd(0.1), shape=(2,), base_std=1.5, annealing=SHORT)
    state = jax.jit(model.init)(key, {"x": jnp.zeros((4, 2))})
    of = energy.energy(model, state)
    tilted = lambda x: jnp.exp(-of(x))
    exact = float(jnp.log(integrate(tilted, [-12.0, -12.0], [12.0, 12.0], 301)))
    found = jax.jit(lambda key: energy.log_normalizer(key, model, state))(key)
    assert abs(exact) > 10 * found.error
    assert found.error < 0.1
    assert abs(found.value - exact) < 5.03 * found.error


def test_a_run_whose_chains_all_diverge_says_so(data):
    wild = CHAINS._replace(step_size=1e30)
    model = energy.ebm(Linear(), optax.adam(1e-2), chains=wild, shape=(2,))
    with pytest.raises(NumericalError, match=r"chains_alive.* is not finite at step 1"):
        training.fit(jax.random.key(0), model, data, steps=3, **QUIET)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda n, o: energy.ebm(n, o, shape=(2,), base_std=0.0), "base_std"),
        (lambda n, o: energy.ebm(n, o, shape=(2,), regulariser=-1), "regulariser"),
        (lambda n, o: energy.ebm(n, o, shape=(2,), chains=CHAINS._replace(reinit=2)), "reinit"),
        (lambda n, o: energy.score_model(n, o, shape=(2,), loss="slice"), "sliced"),
        (lambda n, o: energy.nce(n, o, shape=(2,), ratio=0), "ratio"),
        (lambda n, o: energy.nce(n, o, shape=(2,), annealing=Annealing(levels=0)), "levels"),
        (lambda n, o: energy.ncsn(n, o, shape=(2,), levels=1), "levels"),
    ],
)
def test_bad_options(make, word):
    with pytest.raises(ConfigError, match=word):
        make(NETWORK, optax.sgd(0.1))


def test_bad_data():
    model = energy.ebm(NETWORK, optax.sgd(0.1), shape=(2,), chains=CHAINS)
    with pytest.raises(ConfigError, match="does not fit"):
        model.init(jax.random.key(0), {"x": jnp.zeros((4, 3))})
    with pytest.raises(ConfigError, match="buffer_size=400 is below the batch size 500"):
        model.init(jax.random.key(0), {"x": jnp.zeros((500, 2))})


def labelled(n=2000):
    """Two Gaussians of deviation 0.8 at x = -2 and x = 2, labels 0 and 1."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    x = 0.8 * rng.normal(size=(n, 2)) + np.stack([4.0 * y - 2, 0 * y], 1)
    return {"x": x.astype(np.float32), "y": y.astype(np.int32)}


@pytest.fixture(scope="module")
def joint():
    """A trained JEM and its state."""
    network = EnergyNet(features=(32, 32), outputs=2)
    chains = CHAINS._replace(num_steps=20, step_size=0.02, buffer_size=1000)
    transform = standardize((0.0, 0.0), (2.0, 2.0))
    options = {"shape": (2,), "transform": transform, "base_std": 1.5, "annealing": SHORT}
    options |= {"condition": conditions.labels(2), "chains": chains, "ema_decay": 0.9}
    model = energy.jem(network, optax.adam(5e-3), **options)
    return model, training.fit(jax.random.key(0), model, labelled(), steps=300, **QUIET)


def test_jem_is_one_law_of_x_and_y(joint):
    """exp(-E(x, y)) sums to exp(-E(x)) over y, and their ratio is the classifier's softmax."""
    model, state = joint
    x = jax.random.normal(jax.random.key(1), (50, 2))
    logits = energy.logits(model, state, units="model")(x)
    both = jnp.stack([energy.joint_energy(logits, jnp.full(50, y)) for y in (0, 1)], 1)
    marginal = energy.marginal_energy(logits)
    np.testing.assert_allclose(jnp.exp(-both).sum(1), jnp.exp(-marginal), rtol=1e-4)
    ratio = jnp.exp(marginal[:, None] - both)
    np.testing.assert_allclose(ratio, nn.softmax(logits), rtol=1e-4, atol=1e-6)
    label = energy.label_loss(logits, jnp.zeros(50, int))
    np.testing.assert_allclose(jnp.exp(-label), nn.softmax(logits)[:, 0], rtol=1e-4, atol=1e-6)
    for given, tilt in (({}, marginal), ({"label": 1}, both[:, 1])):
        found = energy.energy(model, state, units="model", **given)(x)
        np.testing.assert_allclose(found, tilt - energy.log_base(x, 1.5), rtol=1e-5, atol=1e-5)


def test_jem_classifies_and_samples_by_class(joint):
    """Accuracy, the classes' moments, and log p against the law of the data."""
    model, state = joint
    test = labelled(500)
    logits = energy.logits(model, state)(test["x"])
    assert np.mean(logits.argmax(1) == test["y"]) > 0.97
    sample = jax.jit(lambda key, state, label: model.sample(key, state, 400, label=label))
    x = np.asarray(sample(jax.random.key(1), state, jnp.arange(400) % 2))
    for label in (0, 1):
        part = x[label::2]
        assert abs(part[:, 0].mean() - (4 * label - 2)) < 0.4
        assert 0.4 < part.std(0).min() < part.std(0).max() < 1.3
    nats = np.asarray(jax.jit(model.log_prob)(jax.random.key(0), state, test["x"]))
    means = np.array([[-2.0, 0.0], [2.0, 0.0]])
    law = norm.logpdf(test["x"][:, None], means, 0.8).sum(2)
    assert nats.mean() == pytest.approx(np.logaddexp(*law.T).mean() - np.log(2), abs=0.2)


def test_jem_needs_labels_in_range(joint):
    model, state = joint
    with pytest.raises(ConfigError, match="no labels"):
        jax.eval_shape(model.step, jax.random.key(0), state, {"x": jnp.zeros((8, 2))})
    with pytest.raises(ConfigError, match=r"integers in \[0, 1\]"):
        model.sample(jax.random.key(0), state, 2, label=2)


class LinearLogits(nn.Module):
    """Logits -x, x and 1: the tilts of one class each are linear."""

    @nn.compact
    def __call__(self, x):
        bias = self.param("bias", nn.initializers.zeros, (3,))
        return jnp.concatenate([-x, x, jnp.ones_like(x)], 1) + bias


def test_the_density_of_a_class_has_its_own_constant(key):
    """Data u = x / 2 against N(0, 1) tilted by exp(-u), exp(u), e: N(-1, 1), N(1, 1), N(0, 1)."""
    options = {"transform": standardize((0.0,), (2.0,)), "annealing": SHORT, "shape": (1,)}
    model = energy.jem(
        LinearLogits(), optax.sgd(0.1), condition=conditions.labels(3), chains=CHAINS, **options
    )
    x, y = jnp.array([[1.0], [-3.0], [0.4], [2.0]]), jnp.array([0, 1, 2, 0])
    state = model.init(key, {"x": jnp.zeros((4, 1)), "y": y})
    found = jax.jit(lambda state: model.log_prob(None, state, x, label=y))(state)
    means = np.array([-2.0, 2.0, 0.0])
    np.testing.assert_allclose(found, norm.logpdf(x[:, 0], means[y], 2), atol=0.05)
    assert np.abs(found - norm.logpdf(x[:, 0], means[y[::-1]], 2)).max() > 0.3  # planted
    of_x = jax.jit(lambda state: model.log_prob(None, state, x))(state)
    share = np.exp([0.5, 0.5, 1.0]) / np.exp([0.5, 0.5, 1.0]).sum()
    law = (share * norm.pdf(x, means, 2)).sum(1)
    np.testing.assert_allclose(of_x, np.log(law), atol=0.05)
    slope = energy.score(model, state, label=y)(x)[:, 0]
    np.testing.assert_allclose(slope, (means[y] - x[:, 0]) / 4, rtol=1e-5)
    difference = found + energy.energy(model, state, label=y)(x)
    np.testing.assert_allclose(difference, -np.array([0.5, 0.5, 1.0, 0.5]), atol=0.05)


def test_what_a_trained_energy_cannot_give_is_refused(joint, bounded):
    model, state = joint
    with pytest.raises(DataError, match=r"int32, must be floats.*units='model'"):
        energy.score(model, state)(np.zeros((2, 2), np.int32))
    with pytest.raises(ConfigError, match="units='pixels'"):
        energy.energy(model, state, units="pixels")
    with pytest.raises(ConfigError, match="only jem gives logits"):
        energy.logits(bounded[0], bounded[2])
    with pytest.raises(ConfigError, match="model was trained without a condition"):
        energy.energy(bounded[0], bounded[2], label=1)(np.zeros((2, 2)))
    with pytest.raises(ConfigError, match="condition=.image. must be labels"):
        energy.jem(NETWORK, optax.sgd(0.1), shape=(2,), condition=conditions.image((2,)))
    wide = energy.jem(Linear(), optax.sgd(0.1), shape=(2,), condition=conditions.labels(2))
    with pytest.raises(ConfigError, match=r"allowed: logits \[B, 2\]"):
        wide.init(jax.random.key(0), labelled(8))


def test_ncsns_default_sampler_keeps_the_spread_at_the_exact_score(key):
    """Data N(0, 0.3^2); 20,000 draws have a standard error of 0.5 %."""
    given = {n: p.default for n, p in inspect.signature(energy.ncsn).parameters.items()}
    path = ve(given["sigma_min"], given["sigma_max"])
    stepper = diffusion.annealed_langevin(given["inner_steps"], given["step_size"])
    times = diffusion.GRIDS[stepper.grid](path, given["levels"])
    x = diffusion.prior(key, path, (20_000, 1), data_std=0.3)
    denoise = exact.gaussian_denoiser(0.0, 0.3, path)
    end = jax.jit(lambda x: diffusion.sample(key, denoise, path, x, times, stepper))(x)
    assert abs(float(end.std()) / 0.3 - 1) < 0.05


def test_ncsn_trains_on_a_geometric_ladder():
    """Every level as often as any other (chi-square at 5e-7), with a constant ratio."""
    path = ve(0.02, 4.0)
    t = ladder(5)(jax.random.key(0), path, 5000)
    levels, counts = np.unique(np.round(np.log(path.sigma(t)), 4), return_counts=True)
    np.testing.assert_allclose(levels, np.log(np.geomspace(0.02, 4, 5)), atol=1e-3)
    assert np.sum((counts - 1000) ** 2 / 1000) < 35.9


def test_a_single_level_still_moves_the_chains_to_the_model(key):
    """log N(x; 0, 1) + 3 x is N(3, 1) up to a constant. Hamiltonian motion for a time t takes the
    base there to mean 3 - 3 cos t and variance 1; t is uniform within half of a quarter period, so
    that E[cos t] = 0 and E[cos^2 t] = 1/2 - 1/pi. The weights are those of the start.
    """
    options = Annealing(levels=1, step_size=np.pi / 40, leapfrog=20)
    found = anneal(key, lambda x: -3 * x[:, 0], 4000, (1,), 1.0, options)
    x, weights = np.asarray(found.x)[:, 0], np.asarray(found.log_weights)
    deviation = np.sqrt(1 + 9 * (1 / 2 - 1 / np.pi))
    assert abs(x.mean() - 3) < 5 * deviation / np.sqrt(4000)
    assert abs(x.std() - deviation) < 5 * deviation / np.sqrt(8000)
    assert abs(weights.mean()) < 5 * 3 / np.sqrt(4000)
    assert abs(weights.std() - 3) < 5 * 3 / np.sqrt(8000)
