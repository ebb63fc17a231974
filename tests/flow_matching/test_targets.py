"""Guidance inside the target and teachers: what is learnt in place of the pairs' own velocity."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few_step_truths import of_one_point

from gen_jax import conditions, diffusion, nets, training
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import (
    FEW_STEP_LOSSES,
    average_velocity,
    distilled_flow_map,
    flow_map_model,
    guided_pairs,
    taught_pairs,
)
from gen_jax.flow_matching.few_step import OF_LAWS
from gen_jax.flow_matching.flow_map import conditional
from gen_jax.parameterisations import convert
from gen_jax.paths import PATHS, coefficients, linear

KEY = jax.random.key(0)
X, Y = np.asarray(jax.random.normal(KEY, (60, 2))), np.arange(60) % 3
POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(4)


@pytest.mark.parametrize("path", ["linear", "cosine", "vp", "ve"])
def test_the_point_is_kept_and_the_velocity_is_the_wanted_one(path, x64):
    """At both ends of the path as well."""
    path = PATHS[path]()
    x0, x1 = jax.random.normal(KEY, (2, 4, 3))
    t = jnp.array([0.0, 0.3, 0.8, 1.0])
    null = lambda x, t, s: jnp.cos(x) + s[:, None]
    x, u = conditional(path, x0, x1, t)
    pairs = guided_pairs(null, path, x0, x1, t, 2.5)
    found, velocity = conditional(path, *pairs, t)
    np.testing.assert_allclose(found, x, atol=1e-9)
    np.testing.assert_allclose(velocity, 2.5 * u - 1.5 * null(x, t, t), rtol=1e-7)
    each = guided_pairs(null, path, x0, x1, t, jnp.array([2.5, 1, 1, 2.5]))
    np.testing.assert_allclose(each[0][0], pairs[0][0])
    np.testing.assert_allclose(each[0][1], x0[1], atol=1e-9)


def test_mean_of_guided_velocities_of_gaussian_data(x64):
    """Given x_t it is that of guidance, for data N(m, STD^2) and any unguided line."""
    mean, std, t, w = 0.7, 0.4, 0.6, 3.0
    first, second = np.meshgrid(POINTS, POINTS, indexing="ij")
    weights = np.outer(WEIGHTS, WEIGHTS).ravel() / WEIGHTS.sum() ** 2
    x0, x1 = jnp.asarray(mean + std * first).reshape(-1, 1), jnp.asarray(second).reshape(-1, 1)
    times = jnp.full(len(x0), t)
    null = lambda x, t, s: 0.2 - 0.5 * x
    x, u = conditional(linear(), *guided_pairs(null, linear(), x0, x1, times, w), times)
    design = np.concatenate([np.ones_like(x), x], 1) * np.sqrt(weights)[:, None]
    found = np.linalg.lstsq(design, np.asarray(u[:, 0]) * np.sqrt(weights), rcond=None)[0]
    variance = (1 - t) ** 2 * std**2 + t**2
    slope = (t - (1 - t) * std**2) / variance
    plain = np.array([-mean - slope * (1 - t) * mean, slope])
    np.testing.assert_allclose(found, w * plain + (1 - w) * np.array([0.2, -0.5]), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in FEW_STEP_LOSSES if name not in OF_LAWS])
def test_no_loss_at_the_map_of_a_teacher(name, x64):
    """The teacher knows one point; the batch holds others, whose own pairs give a loss."""
    point = jnp.array([0.4, -1.1])
    teacher = lambda x, t: jnp.broadcast_to(point, x.shape)
    x0, x1 = jax.random.normal(KEY, (2, 5, 2))
    t, s = jnp.array([1.0, 0.7, 0.7, 0.3, 0.5]), jnp.array([0.05, 0.2, 0.7, 0.1, 0.499])
    loss = lambda *pair: FEW_STEP_LOSSES[name](
        of_one_point(point, linear()), linear(), *pair, t, s
    )[0]
    np.testing.assert_allclose(loss(*taught_pairs(teacher, linear(), x0, x1, t)), 0, atol=1e-18)
    if name != "consistency":  # all maps of one point end there, of any pair
        assert float(loss(x0, x1).max()) > 0.01


def test_hidden_examples_learn_the_plain_velocity():
    """Guidance has nothing to guide there: with weight 0 all velocities of the data would go."""
    losses = []
    for guidance in (0.0, 1.0, 9.0):
        options = {"guidance": guidance, "condition_dropout": 1.0, "velocity_share": 1.0}
        model = flow_map_model(nets.MLP((8, 8)), "linear", optax.sgd(0.1), **{**OPTIONS, **options})
        batch = {"x": X, "y": Y}
        losses.append(float(model.step(KEY, model.init(KEY, batch), batch)[1]["loss"]))
    np.testing.assert_allclose(losses, losses[1], rtol=1e-5)


def test_a_trained_model_has_the_guided_velocity():
    """Lines for Gaussian classes at one time: w times the class's and 1 - w times the null's."""
    t, std, means, w = 0.5, 0.3, np.array([-1.0, 1.0]), 2.0
    network = nets.from_functions(
        lambda key, x, noise, condition: {"line": jnp.zeros((3, 2))},
        lambda params, x, noise, condition: (
            params["line"][condition, :1] + params["line"][condition, 1:] * x
        ),
    )
    model = flow_map_model(
        network,
        "linear",
        optax.adam(optax.cosine_decay_schedule(0.05, 1500)),
        shape=(1,),
        condition=conditions.labels(2),
        condition_dropout=0.5,
        velocity_share=1.0,
        guidance=w,
        time_density=lambda key, path, n: jnp.full(n, t),
    )
    y = np.arange(4000) % 2
    x = means[y][:, None] + std * np.random.default_rng(0).normal(size=(4000, 1))
    batch = {"x": x.astype(np.float32), "y": y}
    state = training.fit(KEY, model, batch, steps=1500, batch_size=500, progress=False)
    norm = np.sqrt(0.5)  # the network sees x / norm
    line = np.asarray(*jax.tree.leaves(state.params)) / [1, norm]
    variance = 0.25 * (std**2 + 1)
    slope = 0.5 * (1 - std**2) / variance
    plain = np.stack([-means - slope * 0.5 * means, np.full(2, slope)], 1)
    np.testing.assert_allclose(line[:2], w * plain + (1 - w) * line[2], atol=0.08)
    assert np.abs(line[:2] - plain).max() > 0.5


OPTIONS = {"shape": (2,), "condition": conditions.labels(3), "noise_input": "angle"}


@pytest.fixture(scope="module")
def teacher():
    model = diffusion.diffusion(nets.MLP((8, 8)), "cosine", optax.adam(1e-2), **OPTIONS)
    batch = {"x": X, "y": Y}
    return model, training.fit(KEY, model, batch, steps=20, batch_size=30, progress=False)


def guided_velocity(teacher, x, t, label, w):
    """By the teacher's denoisers of the label and of none."""
    own, null = (diffusion.denoiser(*teacher, **given)(x, t) for given in ({"label": label}, {}))
    c = coefficients(PATHS["cosine"](), t)
    return convert(w * own + (1 - w) * null, x, c, "x0", "velocity")


def test_a_student_starts_as_its_teacher(teacher):
    model = distilled_flow_map(*teacher, optax.adam(1e-2), guidance=2.0)
    batch = {"x": X, "y": Y}
    state = model.init(KEY, batch)
    x, t = jnp.asarray(X[:3]), jnp.array([0.2, 0.6, 1.0])
    average = average_velocity(model, state, label=jnp.array([0, 1, 2]))
    wanted = guided_velocity(teacher, x, t, jnp.array([0, 1, 2]), 1.0)
    np.testing.assert_allclose(average(x, t, t), wanted, atol=2e-4)


def test_a_teacher_is_not_trained(teacher):
    model, batch = distilled_flow_map(*teacher, optax.adam(1e-2), guidance=2.0), {"x": X, "y": Y}
    after = training.fit(KEY, model, batch, steps=5, batch_size=30, progress=False)
    for kept, own in zip(jax.tree.leaves(after.frozen), jax.tree.leaves(teacher[1].ema)):
        np.testing.assert_array_equal(kept, own)
    assert np.isfinite(model.sample(KEY, after, 3, label=1)).all()


@pytest.mark.parametrize("loss", [name for name in FEW_STEP_LOSSES if name not in OF_LAWS])
def test_a_student_learns_the_guided_flow(teacher, loss):
    """On the diagonal its regression is on the teacher's velocity with guidance."""
    w, t = 2.0, 0.6
    density = lambda key, path, n: jnp.full(n, t)
    more = {"velocity_share": 1.0, "time_density": density, "guidance": w, "pairs": "mean_flow"}
    model = distilled_flow_map(*teacher, optax.sgd(0.0), loss, **more)
    batch = {"x": X, "y": Y}
    state, metrics = model.step(KEY, model.init(KEY, batch), batch)
    assert all(np.isfinite(value) for value in metrics.values())
    assert np.isfinite(model.sample(KEY, state, 2, label=1)).all()
    if loss in ("lagrangian", "continuous_consistency"):  # the diagonal is the teacher's as well
        plain = distilled_flow_map(*teacher, optax.sgd(0.0), loss, **{**more, "guidance": 1.0})
        own = plain.step(KEY, plain.init(KEY, batch), batch)[1]["flow_matching"]
        np.testing.assert_allclose(own, 0, atol=1e-8)
        assert float(metrics["flow_matching"]) > 1e-5
    if loss not in ("mean_flow", "improved_mean_flow", "shortcut"):
        return
    # Before training the loss is |u_guided - u|^2 = (w - 1)^2 |u - u_null|^2, 0 for hidden labels.
    others = [
        float(distilled_flow_map(*teacher, optax.sgd(0.0), loss, **{**more, "guidance": v})
              .step(KEY, state, batch)[1]["loss"]) for v in (1.0, 3.0)
    ]  # fmt: skip
    np.testing.assert_allclose(others[0], 0, atol=1e-8)
    np.testing.assert_allclose(others[1], 4 * float(metrics["loss"]), rtol=1e-3)
    assert float(metrics["loss"]) > 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": -1.0}, "guidance=-1.0"),
        ({"guidance": np.nan}, "guidance=nan"),
        ({"guidance": 2.0, "condition": None}, "guidance=2.0 needs a condition"),
        ({"guidance": 2.0, "condition_dropout": 0.0}, "guidance=2.0 needs a condition"),
        ({"guidance": 2.0, "loss": "moment_matching"}, "guidance=2.0: loss='moment_matching'"),
        ({"guidance": 2.0, "loss": "consistency"}, "guidance=2.0: loss='consistency' does not"),
        ({"loss_options": {"teacher": lambda x, t: x}, "loss": "consistency"}, "as teacher="),
        ({"teacher": lambda x, t: x}, "teacher must be a function of"),
        ({"teacher": lambda x, t, value: x, "loss": "moment_matching"}, "teacher=.*compares"),
    ],
)
def test_bad_targets_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        flow_map_model(nets.MLP((8, 8)), "linear", optax.sgd(0.1), **{**OPTIONS, **options})


def test_bad_teachers_are_refused(teacher):
    of = lambda **options: distilled_flow_map(*teacher, optax.sgd(0.1), **options)
    with pytest.raises(ConfigError, match="prediction: a student has"):
        of(prediction="v")
    with pytest.raises(ConfigError, match="loss='drifting'"):
        of(loss="drifting")
    steep = {**OPTIONS, "noise_input": "log_snr"}
    model = diffusion.diffusion(nets.MLP((8, 8)), "cosine", optax.adam(1e-2), **steep)
    state = model.init(KEY, {"x": X, "y": Y})
    with pytest.raises(ConfigError, match="student of this teacher: noise_input='log_snr'"):
        distilled_flow_map(model, state, optax.sgd(0.1))
    few = flow_map_model(nets.MLP((8, 8)), "linear", optax.sgd(0.1), **OPTIONS)
    with pytest.raises(ConfigError, match="few steps: it must be a plain model"):
        distilled_flow_map(few, few.init(KEY, {"x": X, "y": Y}), optax.sgd(0.1))
    with pytest.raises(ConfigError, match="parts"):
        distilled_flow_map(model._replace(parts=None), state, optax.sgd(0.1))
