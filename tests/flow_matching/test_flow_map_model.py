"""Few-step models: exact maps sample exactly, every loss trains, diffusion is a valid start."""

import exact
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few_step_truths import average_of, gaussian_map

from gen_jax import conditions, diffusion, nets, paths, training
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import (
    FEW_STEP_LOSSES,
    average_velocity,
    coupled,
    flow_map_model,
    flow_matching,
    jump,
    paired_data,
    reflow_pairs,
    trained_map,
)
from gen_jax.model import sample_in_batches

KEY, STD = jax.random.key(0), 0.7
COSINE = paths.cosine()
X = np.asarray(STD * jax.random.normal(KEY, (64, 2)))


def exact_average(x, t, s):
    velocity = lambda x, t: jax.jvp(
        lambda s: gaussian_map(STD, COSINE)(x, t, s), (t,), (t * 0 + 1,)
    )[1]
    return average_of(gaussian_map(STD, COSINE), velocity)(x, t, s)


class Exact(nn.Module):
    """The average velocity of N(0, STD^2) on the cosine path, where the angle is the time."""

    @nn.compact
    def __call__(self, x, noise, condition=None):
        self.param("unused", nn.initializers.zeros, ())
        return exact_average(x, noise[:, 0], noise[:, 1])


@pytest.fixture(scope="module")
def perfect():
    model = flow_map_model(Exact(), "cosine", optax.sgd(0.1), shape=(2,))
    return model, model.init(KEY, {"x": X})


@pytest.mark.parametrize("num_steps", [1, 3])
def test_an_exact_map_scales_the_noise_by_the_spread_of_the_data(perfect, num_steps):
    model, state = perfect
    way = diffusion.trajectory(KEY, model, state, 5, num_steps=num_steps)
    np.testing.assert_allclose(way.x, STD * way.states[0], atol=1e-5)
    assert int(way.calls) == num_steps
    parts = sample_in_batches(model, KEY, state, 5, 2, num_steps=num_steps)
    np.testing.assert_allclose(parts, way.x, atol=1e-6)


def test_the_diagonal_is_a_denoiser_and_serves_every_stepper(perfect):
    model, state = perfect
    x, t = jnp.asarray(X[:3]), jnp.array([0.1, 0.5, 0.9])
    found = diffusion.denoiser(model, state)(x, t)
    truth = exact.gaussian_denoiser(0.0, STD, COSINE)(x, t)
    np.testing.assert_allclose(found, truth, atol=1e-5)
    fine = diffusion.trajectory(KEY, model, state, 5, stepper="adams", num_steps=24)
    np.testing.assert_allclose(fine.x, STD * fine.states[0], atol=2e-3)
    moved = trained_map(model, state)(x, t, t / 2)
    np.testing.assert_allclose(moved, gaussian_map(STD, COSINE)(x, t, t / 2), atol=1e-5)
    density = jax.scipy.stats.norm.logpdf(X[:2], 0, STD).sum(1)
    np.testing.assert_allclose(model.log_prob(KEY, state, X[:2], num_steps=24), density, atol=2e-2)


@pytest.mark.parametrize("loss", FEW_STEP_LOSSES)
def test_every_loss_has_a_finite_step_and_jumps_with_labels(loss):
    options = {"shape": (2,), "condition": conditions.labels(3)}
    if loss == "drifting":  # it compares the data as a whole
        with pytest.raises(ConfigError, match="condition"):
            flow_map_model(nets.MLP((8, 8)), "linear", optax.adam(1e-2), loss, **options)
        options["condition"] = None
    model = flow_map_model(nets.MLP((8, 8)), "linear", optax.adam(1e-2), loss, **options)
    batch = {"x": X[:12], "y": np.arange(12) % 3}
    state = model.init(KEY, batch)
    state, metrics = jax.jit(model.step)(KEY, state, batch)
    assert all(np.isfinite(value) for value in metrics.values())
    labels = {} if loss == "drifting" else {"label": [0, 1, 2]}
    drawn = model.sample(KEY, state, 3, num_steps=2, **labels)
    assert np.isfinite(drawn).all()
    with pytest.raises(ConfigError, match="guidance"):
        model.sample(KEY, state, 3, guidance=2.0, **labels)


def test_a_diffusion_model_is_a_valid_start():
    """Its velocity is the diagonal of the map, whatever the second time is, before training."""
    options = {"shape": (2,), "prediction": "v", "noise_input": "angle"}
    parent = diffusion.diffusion(nets.MLP((8, 8)), "cosine", optax.adam(1e-2), **options)
    trained = training.fit(KEY, parent, {"x": X}, steps=20, batch_size=32, progress=False)
    model = flow_map_model(nets.MLP((8, 8)), "cosine", optax.adam(1e-3), **options)
    state = training.start_from(model.init(KEY, {"x": X}), trained)
    x, t = jnp.asarray(X[:4]), jnp.array([0.1, 0.4, 0.7, 1.0])
    x0 = diffusion.denoiser(parent, trained)(x, t)
    velocity = paths.convert(x0, x, paths.coefficients(COSINE, t), "x0", "velocity")
    average = average_velocity(model, state)
    np.testing.assert_allclose(average(x, t, t), velocity, atol=2e-4)
    np.testing.assert_allclose(average(x, t, t / 3), average(x, t, t), atol=1e-6)


def test_a_guide_needs_a_stepper_that_calls_the_denoiser(perfect):
    """Jumps do not: they drew unguided samples, also of a model with a classifier built in."""
    model, state = perfect
    to_three = lambda denoise: lambda x, t: jnp.full_like(x, 3.0)
    for options in ({}, {"stepper": jump(trained_map(model, state))}):
        with pytest.raises(ConfigError, match="guide acts on the denoiser"):
            model.sample(KEY, state, 2, guide=to_three, **options)
    options = {"stepper": "ddim", "num_steps": 3}
    np.testing.assert_allclose(model.sample(KEY, state, 2, guide=to_three, **options), 3)
    with pytest.raises(ConfigError, match="guidance acts on the denoiser"):
        model.sample(KEY, state, 2, guidance=2.0, stepper=jump(trained_map(model, state)))
    labels = {"shape": (2,), "condition": conditions.labels(2)}
    few = flow_map_model(nets.MLP((8,)), "linear", optax.sgd(0.1), **labels)
    own = few.init(KEY, {"x": X, "y": np.zeros(64, int)})
    log_p = lambda params, x, t, condition: x[:, 0]
    guided, both = diffusion.classifier_guided(few, own, log_p, {})
    with pytest.raises(ConfigError, match="guide acts on the denoiser"):
        guided.sample(KEY, both, 2, label=1)
    assert np.isfinite(guided.sample(KEY, both, 2, label=1, **options)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "eps"}, "prediction='eps'"),
        ({"prediction": "x0"}, "prediction='x0'"),
        ({"prediction": "score"}, "prediction='score'"),
        ({"noise_input": "log_snr"}, "noise_input='log_snr'"),
        ({"gamma": -0.1}, "gamma=-0.1"),
        ({"gamma": 0.5, "coupling": lambda key, x0, x1: jnp.arange(len(x0))}, "coupling"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"loss_options": {"huber": 0.1}}, "loss_options=.*huber"),
        ({"loss": "moment_matching", "loss_options": {"goup": 2}}, "loss_options=.*goup"),
        ({"loss_options": None}, "loss_options=None"),
        ({"loss": 3}, "loss=3 must be a function"),
        ({"pairs": lambda key, t: t}, "pairs must be a function of"),
        ({"stepper": "heun"}, "stepper='heun': a few-step model jumps"),
        ({"weighting": "edm"}, "weighting: not of a few-step loss"),
        ({"velocity_share": 2.0}, "velocity_share=2.0"),
        ({"loss": "mean_flwo"}, "did you mean 'mean_flow'"),
        ({"gamma": 1.0, "source": lambda key: jnp.zeros(2)}, "source"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        flow_map_model(nets.MLP((8, 8)), "linear", optax.sgd(0.1), shape=(2,), **options)


def test_consistency_jumps_to_the_data_and_adds_noise_again():
    """It trains no other jumps: two calls along the flow would end at a time it never saw."""
    of = lambda loss, **more: flow_map_model(
        nets.MLP((8,)), "linear", optax.sgd(0.1), loss, shape=(2,), num_steps=2, **more
    )
    state = of("consistency").init(KEY, {"x": X})
    state = state._replace(ema=jax.tree.map(lambda p: p + 0.3, state.ema))
    draw = lambda model: np.asarray(model.sample(KEY, state, 4))
    found = draw(of("consistency"))
    np.testing.assert_array_equal(found, draw(of("consistency", gamma=1.0)))
    along = draw(of("consistency", gamma=0.0))
    np.testing.assert_array_equal(along, draw(of("improved_mean_flow")))
    assert np.abs(found - along).max() > 0.01


def test_a_consistency_model_refuses_what_needs_a_velocity():
    """Its loss trains U(x, t, 0) alone; U(x, t, t) would be numbers that mean nothing."""
    model = flow_map_model(nets.MLP((8,)), "linear", optax.sgd(0.1), "consistency", shape=(2,))
    state = model.init(KEY, {"x": X})
    assert model.log_prob is None
    assert np.isfinite(model.sample(KEY, state, 2, num_steps=3)).all()
    refused = (
        lambda: diffusion.denoiser(model, state)(jnp.zeros((1, 2)), jnp.ones(1)),
        lambda: model.sample(KEY, state, 2, stepper="heun"),
    )
    for call in refused:
        with pytest.raises(ConfigError, match="consistency loss has no velocity"):
            call()


def test_the_derivative_of_continuous_consistency_warms_up():
    """By steps of training, from 0 to 1 after `warmup_steps`; a weight that is given stays."""
    batch = {"x": X[:12]}

    def tangents(steps, **options):
        model = flow_map_model(
            nets.MLP((4,)), "linear", optax.sgd(0), "continuous_consistency", shape=(2,), **options
        )
        state = model.init(KEY, batch)
        state = state._replace(params=jax.tree.map(lambda p: p + 0.2, state.params))
        at = lambda step: model.step(KEY, state._replace(step=jnp.int32(step)), batch)[1]["tangent"]
        return [float(at(step)) for step in steps]

    rising = tangents((0, 10, 20, 40), warmup_steps=20)
    assert rising[2] == rising[3]
    assert len({round(value, 4) for value in rising}) == 3
    fixed = tangents((0, 40), loss_options={"warmup": 0.5})
    np.testing.assert_allclose(fixed, [rising[1]] * 2, rtol=1e-6)


def test_a_batch_of_one_cannot_drift():
    model = flow_map_model(nets.MLP((8, 8)), "linear", optax.sgd(0.1), "drifting", shape=(2,))
    batch = {"x": X[:1]}
    with pytest.raises(ConfigError, match="at least 2"):
        model.step(KEY, model.init(KEY, batch), batch)


def test_pairs_of_a_model_are_noise_and_what_its_flow_makes_of_it():
    """In batches as in one; and a model that is given them trains on them alone."""
    options = {"shape": (2,), "time_density": lambda key, path, n: jnp.ones(n)}
    model = flow_matching(nets.MLP((8,)), optax.sgd(0.1), **options)
    state = model.init(KEY, {"x": X})
    pairs = paired_data(KEY, model, state, {}, 5, num_steps=2, batch_size=2)
    whole = paired_data(KEY, model, state, {}, 5, num_steps=2)
    np.testing.assert_allclose(pairs["x0"], whole["x0"], atol=1e-6)
    np.testing.assert_array_equal(pairs["x"], pairs["x0"])  # without a transform
    # Before training the velocity is 0 at all points, and x0 is x1.
    np.testing.assert_allclose(pairs["x0"], pairs["x1"], atol=1e-4)
    batch = {name: jnp.asarray(a) for name, a in pairs.items()} | {"x0": 3 * jnp.ones((5, 2))}
    _, metrics = model.step(KEY, state, batch)
    np.testing.assert_allclose(metrics["loss"], ((pairs["x1"] - 3) ** 2).mean(), rtol=1e-5)
    for wrong, message in (({"x0": None}, "without 'x0'"), ({"x0": jnp.ones((5, 3))}, "x0")):
        bad = {k: v for k, v in {**batch, **wrong}.items() if v is not None}
        with pytest.raises(ConfigError, match=message):
            model.step(KEY, state, bad)
    for options, message in (({"stepper": "ddpm"}, "deterministic"), ({"n": 0}, "n=0")):
        with pytest.raises(ConfigError, match=message):
            paired_data(KEY, model, state, {}, **{"n": 4, **options})
    with pytest.raises(ConfigError, match="batch_size=0"):
        paired_data(KEY, model, state, {}, 4, batch_size=0)
    options = {"shape": (2,), "condition": conditions.labels(3)}
    labelled = flow_matching(nets.MLP((8,)), optax.sgd(0.1), **options)
    own = labelled.init(KEY, {"x": X, "y": np.zeros(64, int)})
    for label in (np.array([0, 1]), np.arange(6) % 3, 1):  # the last row stood for those beyond it
        with pytest.raises(ConfigError, match="label has shape .* a row for each of 4"):
            paired_data(KEY, labelled, own, {"label": label}, 4, num_steps=2)
    with pytest.raises(ConfigError, match="label"):  # 3 is the row of "no label"
        paired_data(KEY, labelled, own, {"label": np.array([0, 1, 2, 3])}, 4, num_steps=2)
    with pytest.raises(ConfigError, match="stepper='heun' must be a Stepper"):
        reflow_pairs(KEY, lambda x, t: x, COSINE, (4, 2), jnp.linspace(1, 0, 3), "heun")
    ending = diffusion.diffusion(nets.MLP((8,)), paths.ve(0.1, 1.0), optax.sgd(0.1), shape=(2,))
    with pytest.raises(ConfigError, match="end at noise"):
        paired_data(KEY, ending, ending.init(KEY, {"x": X}), {}, 4)


def gap(average, path, x0, x1, t, s):
    """A loss that shows how data and noise are paired."""
    return ((x1 - x0) ** 2).mean(1), {}


def loss_of(batch, **options):
    model = flow_map_model(
        nets.MLP((8,)), "linear", optax.sgd(0.1), gap, pairs="mean_flow", shape=(2,), **options
    )
    step = lambda batch: model.step(KEY, model.init(KEY, batch), batch)[1]["loss"]
    return float(jax.jit(step)(batch))


def test_a_coupling_and_a_start_pair_the_batch():
    """Neither was read, nor were the batch's own pairs."""
    tight = {"coupling": lambda key, x0, x1: jnp.argmin(((x0[:, None] - x1) ** 2).sum(-1), 1)}
    batch = {"x": X}
    assert loss_of(batch, **tight) < 0.5 * loss_of(batch)
    assert loss_of({"x": X, "x0": X, "x1": X + 2}) == pytest.approx(4, rel=1e-5)
    for wrong in (
        lambda key, a, b: b,
        lambda key, a, b: 0,
        lambda key, a, b: np.eye(64, 1, dtype=int),
    ):
        with pytest.raises(ConfigError, match="coupling returned shape"):
            loss_of(batch, coupling=wrong)
    near_data = {"condition": conditions.image((2,)), "start": lambda key, value: value + 1}
    assert loss_of({"x": X, "image": X}, **near_data) == pytest.approx(1, rel=1e-5)


def test_pairs_of_another_shape_are_refused():
    wide = {"pairs": lambda key, t, share, step: t[:, None], "shape": (2,)}
    model = flow_map_model(nets.MLP((8,)), "linear", optax.sgd(0.1), **wide)
    state = model.init(KEY, {"x": X})
    with pytest.raises(ConfigError, match="pairs returned shape"):
        jax.eval_shape(model.step, KEY, state, {"x": X})


SEEN: list[bool] = []


class Modes(nn.Module):
    """Notes in SEEN whether it is called as in training."""

    dropout: float = 0.5
    condition: object = None

    @nn.compact
    def __call__(self, x, noise, condition=None, deterministic=True):
        SEEN.append(deterministic)
        return x * self.param("scale", nn.initializers.ones, ())


OF_NETWORKS = {
    "diffusion": lambda net: diffusion.diffusion(net, "linear", optax.sgd(0.1), shape=(2,)),
    "flow_matching": lambda net: flow_matching(net, optax.sgd(0.1), shape=(2,)),
    "flow_map_model": lambda net: flow_map_model(net, "linear", optax.sgd(0.1), shape=(2,)),
    "variational_diffusion": lambda net: diffusion.variational_diffusion(
        net, optax.sgd(0.1), shape=(2,)
    ),
    "coupled": lambda net: coupled(net, optax.sgd(0.1), lambda key, x: x, shape=(2,)),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", OF_NETWORKS)
def test_dropout_is_on_in_training_alone(name, wrapped):
    """A flow map, and a network that sees Fourier features, were trained without their dropout."""
    model = OF_NETWORKS[name](nets.FourierFeatures(Modes(), (1,)) if wrapped else Modes())
    state = model.init(KEY, {"x": X})
    for run, inside in (
        (lambda state: model.step(KEY, state, {"x": X}), False),
        (lambda state: model.sample(KEY, state, 2, num_steps=1), True),
    ):
        SEEN.clear()
        jax.eval_shape(run, state)
        assert {*SEEN} == {inside}


def test_velocities_are_finite_at_the_data_where_the_path_is_steep():
    """On vp the velocity's coefficients are infinite at s = 0, where halving pairs often end."""
    options = {"loss": "lagrangian", "pairs": "shortcut", "shape": (2,), "velocity_share": 0.2}
    model = flow_map_model(nets.MLP((8,)), "vp", optax.sgd(0.1), **options)
    _, metrics = model.step(KEY, model.init(KEY, {"x": X}), {"x": X})
    assert np.isfinite(metrics["loss"])
