"""Diffusion models as a whole: state, training, sampling, likelihood and what they refuse."""

from functools import cache, partial

import exact
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, nets, paths
from gen_jax.conditions import labels
from gen_jax.data import transforms
from gen_jax.diffusion.options import Options
from gen_jax.errors import ConfigError
from gen_jax.frozen import Given
from gen_jax.model import sample_in_batches

CLASSES = 3


def build(shape=(2,), classes=CLASSES, path="linear", learning_rate=3e-3, **options):
    condition = labels(classes) if classes else None
    options = {"shape": shape, "condition": condition, "num_steps": 4, **options}
    network = nets.MLP((16, 16))
    return diffusion.diffusion(network, path, optax.adam(learning_rate), **options)


def points(n=64):
    """Labelled clusters [n, 2], in units of the path."""
    y = jnp.arange(n) % CLASSES
    centres = jnp.array([[1.2, 0.0], [-0.6, 1.0], [-0.6, -1.0]])
    x = centres[y] + 0.1 * jax.random.normal(jax.random.key(3), (n, 2))
    return {"x": x, "y": y}


@cache
def trained():
    """A conditional model on points after 1,500 steps, and its losses."""
    model, batch = build(), points(256)
    state = model.init(jax.random.key(0), batch)

    @jax.jit
    def run(state):
        step = lambda state, key: model.step(key, state, batch)
        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 1500))

    state, metrics = run(state)
    return model, state, metrics


def test_training_lowers_the_loss_and_samples_follow_their_labels(key):
    model, state, metrics = trained()
    loss = np.asarray(metrics["loss"])
    assert loss[-100:].mean() < 0.6 * loss[:20].mean()
    assert int(state.step) == 1500
    label = jnp.arange(150) % CLASSES
    x = jax.jit(lambda key: model.sample(key, state, 150, label=label, num_steps=20))(key)
    nearest = jnp.argmin(((x[:, None] - points()["x"][:3][None]) ** 2).sum(-1), axis=1)
    assert float((nearest == label).mean()) > 0.95
    one = model.sample(key, state, 150, label=2, num_steps=20)
    nearest = jnp.argmin(((one[:, None] - points()["x"][:3][None]) ** 2).sum(-1), axis=1)
    assert float((nearest == 2).mean()) > 0.95


class Switch(nn.Module):
    """A network that moves its parameter only where dropout is off."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, noise, label=None, deterministic=True):
        scale = self.param("scale", nn.initializers.ones, ())
        if deterministic:
            return scale * x
        return jax.random.normal(self.make_rng("dropout"), x.shape)


@pytest.mark.parametrize(("dropout", "is_on"), [(0.0, False), (0.5, True)])
def test_dropout_is_on_in_training_only(key, dropout, is_on):
    model = diffusion.diffusion(Switch(dropout), "linear", optax.adam(0.1), shape=(2,), num_steps=4)
    state = model.init(key, points())
    after, _ = model.step(key, state, points())
    scale = float(after.params["params"]["scale"])
    assert (scale == 1.0) == is_on
    model.sample(key, after, 4)  # would ask for a "dropout" key if it were on


def test_log_prob_prefers_the_right_label(key):
    model, state, _ = trained()
    batch = points(30)
    right = model.log_prob(key, state, batch["x"], label=batch["y"], num_steps=16)
    wrong = model.log_prob(key, state, batch["x"], label=(batch["y"] + 1) % CLASSES, num_steps=16)
    assert right.shape == (30,)
    assert float((right > wrong).mean()) > 0.95
    assert model.log_prob_kind == "estimate"


def test_the_adaptive_solver_keeps_each_sample_to_its_own_label(key):
    """It steps sample by sample, and yet agrees with 200 steps of Heun's method for each label."""
    model, state, _ = trained()
    label = jnp.arange(30) % CLASSES
    run = lambda **options: model.sample(key, state, 30, label=label, **options)
    slow = run(stepper="edm_heun", num_steps=200)
    stepper = diffusion.adaptive(rtol=1e-5, atol=1e-5)
    for fast in (run(stepper=stepper), jax.jit(lambda: run(stepper=stepper))()):
        np.testing.assert_allclose(fast, slow, atol=0.02)


def test_guidance_moves_samples_and_a_weight_of_one_is_none(key):
    model, state, _ = trained()
    run = lambda **options: model.sample(key, state, 8, label=1, stepper="ddim", **options)
    plain = run()
    np.testing.assert_array_equal(run(guidance=1.0), plain)
    np.testing.assert_allclose(run(guidance=jnp.array(1.0)), plain, atol=1e-5)
    assert np.abs(run(guidance=3.0) - plain).max() > 1e-3
    limited = run(guidance=3.0, guidance_interval=(0.0, 0.0))
    np.testing.assert_allclose(limited, plain, atol=1e-5)
    with pytest.raises(ConfigError, match=r"guidance=2\.0"):
        model.sample(key, state, 2, guidance=2.0)
    # Autoguidance: by itself nothing changes, by an earlier state it does, labels or not.
    by = lambda weaker: partial(diffusion.autoguided(model, state, weaker)[0].sample, key)
    early, options = model.init(key, points()), {"label": 1, "stepper": "ddim"}
    same = by(state)(Given(state.ema, state), 8, guidance=3.0, **options)
    np.testing.assert_allclose(same, plain, atol=1e-4)
    guided = by(early)(Given(early.ema, state), 8, guidance=2.0, **options)
    assert np.abs(guided - plain).max() > 1e-3
    unlabelled = by(early)(Given(early.ema, state), 2, guidance=2.0)
    assert unlabelled.shape == (2, 2)
    # Any further guidance, on the sampling path.
    pulled = run(guide=lambda denoise: lambda x, t: denoise(x, t) + 1.0)
    np.testing.assert_allclose(pulled.mean(0) > plain.mean(0), [True, True])


def test_another_path_at_sampling_time_gives_the_same_samples_law(key):
    model, state, _ = trained()
    label = jnp.arange(300) % CLASSES
    means = []
    for path in (None, "vp", "edm", "cosine"):
        run = lambda key, path=path: model.sample(
            key, state, 300, label=label, num_steps=20, path=path
        )
        x = jax.jit(run)(key)
        means.append(jnp.stack([x[label == k].mean(0) for k in range(CLASSES)]))
    for other in means[1:]:
        np.testing.assert_allclose(other, means[0], atol=0.05)


def test_samples_do_not_depend_on_the_batch(key):
    model, state, _ = trained()
    label = jnp.arange(5) % CLASSES
    whole = model.sample(key, state, 5, label=label, stepper="ddpm")
    for size in (2, 5, 8):
        parts = sample_in_batches(model, key, state, 5, size, label=label, stepper="ddpm")
        np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_calls_and_trajectory_on_request(key):
    model, state, _ = trained()
    way = diffusion.trajectory(key, model, state, 3, stepper="edm_heun", num_steps=6)
    assert (way.x.shape, int(way.calls)) == ((3, 2), 11)
    way = diffusion.trajectory(key, model, state, 3, stepper=diffusion.euler(), num_steps=5)
    x = model.sample(key, state, 3, stepper="euler", num_steps=5)
    assert (way.states.shape, way.times.shape) == ((6, 3, 2), (6,))
    np.testing.assert_array_equal(way.states[-1], way.x)
    np.testing.assert_allclose(way.x, x, atol=1e-5)
    other = model.sample(key, state, 3, stepper="euler", num_steps=5, grid="karras")
    assert np.abs(other - x).max() > 1e-4
    with pytest.raises(ConfigError, match="times must fall"):
        model.sample(key, state, 3, grid=lambda path, steps: jnp.linspace(0.0, 1.0, steps + 1))


def test_a_range_of_noise_levels_reaches_the_grid_and_the_start(key):
    """Where D = 0 the step before the data scales x by sigma_min / sigma_max."""
    denoiser = lambda denoise: lambda x, t: jnp.zeros_like(x)
    model, state, _ = trained()
    options = {"guide": denoiser, "path": "edm", "grid": "karras", "stepper": "ddim"}
    run = lambda **more: diffusion.trajectory(
        key, model, state, 400, num_steps=2, **options, **more
    )
    way = run(sigma_min=0.5, sigma_max=4.0)
    assert abs(float(way.states[1].std()) / (0.5 * np.hypot(1, 1 / 4)) - 1) < 0.1
    assert abs(float(run().states[1].std()) / 0.002 - 1) < 0.1
    own = lambda path, n, sigma_max=80.0: diffusion.GRIDS["karras"](path, n, sigma_max=sigma_max)
    with_own = model.sample(key, state, 2, num_steps=2, **options | {"grid": own}, sigma_max=4.0)
    assert with_own.shape == (2, 2)


def test_a_step_is_traced_once_and_changes_with_key_and_batch(key, count_traces):
    model, batch = build(), points()
    state = model.init(key, batch)
    counted = count_traces(model.step)
    run = jax.jit(counted)
    keys = jax.random.split(key, 3)
    structure = jax.tree.map(lambda a: (a.shape, a.dtype), state)
    for k in keys:
        state, metrics = run(k, state, batch)
    assert counted.calls == 1
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == structure
    assert {name: m.shape for name, m in metrics.items()} == dict.fromkeys(metrics, ())
    assert set(metrics) == {"loss", "error", "gradient_norm"}
    again = [float(run(k, state, batch)[1]["loss"]) for k in (keys[0], keys[0], keys[1])]
    assert again[0] == again[1] != again[2]


def test_the_moving_average_warms_up_and_lags(key):
    """Decay min(0.999, (1 + k) / (10 + k)): 0.1 in the first step, so 0.9 of it is taken."""
    model, batch = build(), points()
    first = model.init(key, batch)
    second, _ = jax.jit(model.step)(key, first, batch)
    moved = lambda a, b: jax.flatten_util.ravel_pytree(jax.tree.map(jnp.subtract, a, b))[0]
    np.testing.assert_allclose(
        moved(second.ema, first.ema), 0.9 * moved(second.params, first.params), atol=1e-6
    )
    late = first._replace(step=jnp.int32(10**6))
    third, _ = jax.jit(model.step)(key, late, batch)
    np.testing.assert_allclose(
        moved(third.ema, first.ema), 1e-3 * moved(third.params, first.params), atol=1e-6
    )


def test_the_moving_average_is_float32_when_parameters_are_not(key):
    network = nets.MLP((16,), param_dtype=jnp.bfloat16)
    model = diffusion.diffusion(network, "linear", optax.sgd(0.1), shape=(2,))
    state = model.init(key, points())
    after, _ = jax.jit(model.step)(key, state, points())
    for each in (state, after):
        assert {p.dtype for p in jax.tree.leaves(each.params)} == {jnp.dtype("bfloat16")}
        assert {p.dtype for p in jax.tree.leaves(each.ema)} == {jnp.dtype("float32")}
    assert np.isfinite(model.sample(key, after, 2)).all()


def test_images_go_through_their_transform(key):
    shape = (3, 3, 1)
    x = jnp.arange(36, dtype=jnp.uint8).reshape(4, *shape) * 7
    model = build(shape, classes=0, transform=transforms.symmetric_images(), data_std=0.5)
    state = model.init(key, {"x": x})
    state, metrics = jax.jit(model.step)(key, state, {"x": x})
    assert np.isfinite(metrics["loss"])
    image = model.sample(key, state, 2)
    assert (image.shape, image.dtype) == ((2, *shape), jnp.uint8)
    # An untrained v-network is 0: on the linear path D = alpha x / (alpha^2 + sigma^2), so the
    # density is smooth and bits per dimension are not far from 8.
    nats = model.log_prob(key, state, x, num_steps=16)
    assert nats.shape == (4,)
    assert np.all((np.asarray(nats) / (9 * np.log(2)) > -14) & (np.asarray(nats) < 0))
    keys = jax.random.split(key, 4)
    alone = model.log_prob(keys[2:3], state, x[2:3], num_steps=16)
    np.testing.assert_allclose(alone[0], model.log_prob(keys, state, x, num_steps=16)[2], rtol=1e-3)


def test_log_prob_is_in_data_units(key):
    """The same model behind u = (x - 3) / 5 loses log 5 per dimension."""
    batch = points(8)
    plain = build(classes=0)
    scaled = build(classes=0, transform=transforms.standardize(3.0, 5.0))
    state = plain.init(key, batch)
    x = 5 * batch["x"] + 3
    found = scaled.log_prob(key, state, x, num_steps=8)
    truth = plain.log_prob(key, state, batch["x"], num_steps=8) - 2 * np.log(5)
    np.testing.assert_allclose(found, truth, rtol=1e-3)
    np.testing.assert_allclose(
        scaled.sample(key, state, 3), 5 * plain.sample(key, state, 3) + 3, rtol=1e-4, atol=1e-4
    )


class Ideal:
    """In place of a network: the exact prediction for Gaussian data of mean 0.3 and std 0.6."""

    def __init__(self, path, prediction, data_std):
        self.path, self.prediction, self.data_std = path, prediction, data_std

    def init(self, key, x, noise, label):
        return {"w": jnp.zeros(())}

    def apply(self, params, x, noise, label):
        t = paths.time_of_log_snr(self.path, -8 * noise)
        norm = jnp.hypot(self.path.alpha(t) * self.data_std, self.path.sigma(t))[:, None]
        x = norm * x
        x0 = exact.gaussian_denoiser(0.3, 0.6, self.path)(x, t)
        c = paths.coefficients(self.path, t)
        return paths.convert(x0, x, c, "x0", self.prediction, self.data_std)


@pytest.mark.parametrize("prediction", ["eps", "v", "F"])
def test_a_perfect_network_gives_the_exact_law(key, prediction):
    """Input scaling, conversions and prior together: false alarm 5e-7 on 5,000 samples."""
    path = paths.vp() if prediction in ("eps", "score") else paths.cosine()
    network = Ideal(path, prediction, 0.6)
    model = diffusion.diffusion(
        network, path, optax.sgd(0.1), shape=(1,), prediction=prediction, data_std=0.6, num_steps=80
    )
    state = model.init(key, {"x": jnp.zeros((4, 1))})
    x = jax.jit(lambda key: model.sample(key, state, 5000, stepper="edm_heun"))(key)
    assert exact.standard_normal_p_value((x - 0.3) / 0.6) > 5e-7
    points = jnp.array([[0.0], [1.0]])
    density = jax.scipy.stats.norm.logpdf(points[:, 0], 0.3, 0.6)
    np.testing.assert_allclose(model.log_prob(key, state, points, num_steps=32), density, atol=3e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction": "noise"}, "prediction='noise'"),
        ({"prediction": "eps"}, "prediction='eps' does not determine x0"),
        ({"prediction": "score", "path": "cosine"}, "prediction='score' does not determine x0"),
        ({"weighting": "snr"}, "weighting='snr'"),
        (
            {"weighting": lambda c, kind, sd: 1 - 2 * c.sigma},
            r"weighting returned weights in \[-1, .*\], allowed: finite and at least 0",
        ),
        ({"weighting": lambda c, kind, sd: 1 / (c.sigma - 0.5)}, "weighting returned weights"),
        ({"time_density": "beta"}, "time_density='beta'"),
        ({"stepper": "dimm"}, "stepper='dimm' is unknown; did you mean 'ddim'"),
        ({"path": "vpp"}, "path='vpp'"),
        ({"data_std": 0.0}, "data_std=0.0"),
        ({"condition": 3}, "condition=3"),
        ({"condition_dropout": 1.5}, "condition_dropout=1.5"),
        ({"ema_decay": -0.1}, "ema_decay=-0.1"),
        ({"num_steps": 0}, "num_steps=0"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"label": CLASSES}, "label=3"),
        ({"label": -1}, "label=-1"),
        ({"label": jnp.array([0, 1, 5])}, "label"),
        ({"label": jnp.array([0, 1])}, "label must be one integer or have shape"),
        ({"label": 0.5}, "label"),
        ({"stepper": "eulr"}, "stepper='eulr'"),
        ({"grid": "karas"}, "grid='karas'"),
        ({"path": "vpp"}, "path='vpp'"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_steps": -3}, "num_steps=-3"),
        ({"sigma_max": 0.0}, "sigma_max=0.0"),
        ({"path": "ve", "sigma_min": 0.001}, "sigma_min=0.001 is outside"),
        ({"stepper": "heun_in_time"}, "stepper='heun_in_time' is unknown; did you mean 'heun'"),
    ],
)
def test_bad_conditions_are_refused_at_once(key, condition, message):
    model, state, _ = trained()
    with pytest.raises(ConfigError, match=message):
        model.sample(key, state, 3, **condition)


def test_data_that_does_not_fit_is_refused(key):
    with pytest.raises(ConfigError, match="no labels"):
        build().init(key, {"x": jnp.zeros((4, 2))})
    with pytest.raises(ConfigError, match=r"shape \(3,\)"):
        build(classes=0).init(key, {"x": jnp.zeros((4, 3))})
    model = build(classes=0)
    state = model.init(key, {"x": jnp.zeros((4, 2))})
    with pytest.raises(ConfigError, match="option='label'"):
        model.sample(key, state, 2, label=0)


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="option='color' is unknown"):
        build(color="red")
    with pytest.raises(ConfigError, match="did you mean 'ema_decay'"):
        build(ema_dekay=0.9)
    assert "color" not in Options._fields


def test_a_condition_that_training_never_hid_is_needed(key):
    network = nets.from_functions(
        lambda key, x, noise, label: {"scale": jnp.ones(4)},
        lambda params, x, noise, label: x * params["scale"][label][:, None],
    )
    options = {"shape": (2,), "condition": labels(3), "condition_dropout": 0.0}
    model = diffusion.diffusion(network, "linear", optax.sgd(0.1), **options, num_steps=2)
    x = jnp.ones((2, 2))
    state = model.init(key, {"x": x, "y": jnp.zeros(2, jnp.int32)})
    assert model.sample(key, state, 2, label=1).shape == (2, 2)
    for run in (
        lambda: model.sample(key, state, 2),
        lambda: model.log_prob(key, state, x),
        lambda: diffusion.denoiser(model, state)(x, jnp.full(2, 0.5)),
    ):
        with pytest.raises(ConfigError, match="label is needed"):
            run()
    with pytest.raises(ConfigError, match="guidance=2.0 needs a model trained with"):
        model.sample(key, state, 2, label=1, guidance=2.0)
