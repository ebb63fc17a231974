"""Flow matching: its loss, couplings and other sources."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, flow_matching, nets, paths
from gen_jax.divergences import COUPLINGS
from gen_jax.errors import ConfigError


def build(network=None, **options):
    network = network or nets.MLP((16, 16))
    return flow_matching.flow_matching(network, optax.adam(3e-3), shape=(2,), **options)


def uniform_source(key):
    return jax.random.uniform(key, (2,), minval=-1.7, maxval=1.7)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp"])
def test_the_losss_minimiser_is_the_marginal_velocity(x64, name):
    """By quadrature over Gaussian data and noise: the exact field is optimal, a shift is not."""
    path, t = paths.PATHS[name](), 0.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    weight = np.outer(weights, weights).ravel() / weights.sum() ** 2
    x0, x1 = (jnp.array(g.reshape(-1, 1)) for g in np.meshgrid(0.3 + 0.6 * nodes, nodes))
    flow = lambda x, s: exact.gaussian_flow(0.3, 0.6, path, x, t, s)
    field = jax.vmap(lambda x: jax.jacfwd(lambda s: flow(x, s))(t))
    times = jnp.full(x0.shape[:1], t)

    def expected(shift):
        velocity = lambda x, t: field(x) + shift
        loss, _ = flow_matching.conditional_flow_matching_loss(velocity, path, x0, x1, times)
        return float(weight @ loss)

    np.testing.assert_allclose(expected(0.2) - expected(0.0), 0.04, rtol=1e-8)
    np.testing.assert_allclose(expected(-0.1) - expected(0.0), 0.01, rtol=1e-8)


def test_on_the_linear_path_the_target_is_the_difference(key):
    x0, x1 = jax.random.normal(key, (2, 4, 3))
    velocity = lambda x, t: jnp.zeros_like(x)
    loss, _ = flow_matching.conditional_flow_matching_loss(
        velocity, paths.linear(), x0, x1, jnp.array([0.1, 0.4, 0.6, 0.9])
    )
    np.testing.assert_allclose(loss, ((x1 - x0) ** 2).mean(1), rtol=1e-5)


class Translation:
    """In place of a network: the constant velocity w of a source translated by -w."""

    def init(self, key, x, noise, label):
        return {"w": jnp.zeros(2)}

    def apply(self, params, x, noise, label):
        return jnp.broadcast_to(params["w"], x.shape)


@pytest.mark.parametrize("stepper", ["euler", "midpoint", "rk4", "heun", "ddim", "edm_heun"])
def test_any_source_is_carried_by_deterministic_steppers(key, stepper):
    """Data = source + (3, -1): straight lines at constant velocity, which every method follows."""
    model = build(Translation(), source=uniform_source)
    state = model.init(key, {"x": jnp.zeros((4, 2))})
    state = state._replace(ema={"w": jnp.array([-3.0, 1.0])})
    x = model.sample(key, state, 500, stepper=stepper, num_steps=20)
    shifted = np.asarray(x) - [3.0, -1.0]
    tolerance = 1e-3 if stepper in ("ddim", "edm_heun") else 0.2
    assert np.abs(shifted).max() < 1.7 + tolerance
    assert shifted.min() < -1.5
    assert shifted.max() > 1.5


@pytest.mark.parametrize("name", diffusion.STEPPERS)
def test_steppers_that_need_the_score_are_refused(key, name):
    """Those that draw noise: `test_laws.py` shows of each whether it does. All others are taken."""
    for options in ({"source": uniform_source}, {"coupling": "optimal_assignment"}):
        model = build(Translation(), **options)
        state = model.init(key, {"x": jnp.zeros((4, 2))})
        draw = partial(model.sample, key, n=2, stepper=name, num_steps=2)
        if diffusion.STEPPERS[name]().stochastic:
            with pytest.raises(ConfigError, match="stepper"):
                draw(state)
        else:
            assert jax.eval_shape(draw, state).shape == (2, 2)


def test_a_source_starts_at_the_scale_of_the_path(key):
    """x_1 = sigma(1) x1: on a variance-exploding path the source is scaled with the noise."""
    network = Translation()
    model = build(network, source=uniform_source, path=paths.ve(0.01, 20.0), prediction="x0")
    state = model.init(key, {"x": jnp.zeros((4, 2))})
    options = {"stepper": "ddim", "num_steps": 2, "grid": "uniform"}
    way = diffusion.trajectory(key, model, state, 400, **options)
    # D = 0: one DDIM step scales x by the ratio of noise levels, 20 to sqrt(0.2).
    scale = np.abs(np.asarray(way.states[1])).max() / np.sqrt(0.01 * 20)
    assert 1.5 < scale < 1.71


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_every_coupling_trains_and_optimal_ones_shorten_the_way(key, coupling):
    model = build(coupling=coupling)
    centres = jnp.array([[4.0, 0.0], [-4.0, 0.0]])
    x = centres[jnp.arange(128) % 2] + 0.1 * jax.random.normal(key, (128, 2))
    state = model.init(key, {"x": x})
    _, metrics = jax.jit(model.step)(key, state, {"x": x})
    # Before training the velocity is 0, so the error is the mean squared distance of the pairs.
    far = float(metrics["error"])
    assert (far < 7.5) if coupling in ("optimal_assignment", "sinkhorn") else (far > 7.5)


def test_an_own_coupling_is_given_data_and_noise(key):
    seen = []

    def coupling(key, x0, x1):
        seen.append((x0.shape, x1.shape))
        return jnp.arange(x0.shape[0])[::-1]

    model = build(coupling=coupling)
    state = model.init(key, {"x": jnp.zeros((4, 2))})
    model.step(key, state, {"x": jnp.zeros((4, 2))})
    assert seen == [((4, 2), (4, 2))]


def test_training_on_points(key):
    x = jnp.array([2.0, -1.0]) + 0.3 * jax.random.normal(key, (256, 2))
    model = build(data_std=1.6)
    state = model.init(key, {"x": x})

    @jax.jit
    def run(state):
        step = lambda state, key: model.step(key, state, {"x": x})
        return jax.lax.scan(step, state, jax.random.split(key, 800))

    state, metrics = run(state)
    assert float(metrics["loss"][-50:].mean()) < 0.5 * float(metrics["loss"][:5].mean())
    samples = model.sample(key, state, 400, num_steps=10)
    np.testing.assert_allclose(samples.mean(0), [2.0, -1.0], atol=0.15)
    np.testing.assert_allclose(samples.std(0), 0.3, atol=0.15)
    nats = model.log_prob(key, state, x[:16], num_steps=16)
    assert float(nats.mean()) > -2.0
    assert model.log_prob_kind == "estimate"


def test_without_a_gaussian_source_there_is_no_likelihood():
    model = build(source=uniform_source)
    assert model.log_prob is None
    assert model.log_prob_kind == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupling": "optimal"}, "coupling='optimal'"),
        ({"path": "lin"}, "path='lin'"),
        ({"stepper": "eular"}, "stepper='eular'"),
        ({"prediction": "u"}, "prediction='u'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)
