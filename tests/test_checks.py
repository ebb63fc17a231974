"""Keys, arrays and optimizers of every origin: each works as the usual one does, or is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import (
    classical,
    conditions,
    diffusion,
    energy,
    gan,
    gan_nets,
    nets,
    paths,
    training,
    vae,
)
from gen_jax.checks import as_array, as_floats, as_key, check_output, per_point, same_shape
from gen_jax.conditions import labels
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel
from gen_jax.randomness import normal, sample_keys

KEY = jax.random.key(3)
X = np.random.default_rng(0).uniform(0, 1, (16, 2)).astype(np.float32)


def test_raw_keys_are_keys():
    raw = jax.random.PRNGKey(3)
    assert as_key("key", raw) == KEY
    assert (as_key("key", jax.random.split(raw, 4), 4) == jax.random.split(KEY, 4)).all()
    assert (sample_keys(raw, 5) == sample_keys(KEY, 5)).all()
    assert jax.jit(lambda key: as_key("key", key))(raw) == KEY


@pytest.mark.parametrize("key", [3, None, "a", 0.5, np.zeros(2), jax.random.split(KEY, 2), [KEY]])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ConfigError, match="^key"):
        as_key("key", key)
    with pytest.raises(ConfigError, match="^key"):
        sample_keys(key, 3)


@pytest.mark.parametrize("n", [0, -1, 2.0, None, True, "3"])
def test_numbers_of_samples(n):
    with pytest.raises(ConfigError, match="^n="):
        sample_keys(KEY, n)
    model = GenerativeModel(lambda key, batch: 0, None, lambda key, state, n: jnp.zeros((n, 2)))
    with pytest.raises(ConfigError, match="^n="):
        model.sample(KEY, 0, n)


SAME = {
    "a list": X.tolist(),
    "big-endian": X.astype(">f4"),
    "float64": X.astype(np.float64),
    "Fortran order": np.asfortranarray(X),
    "jax": jnp.asarray(X),
    "a mask without effect": np.ma.array(X, mask=False),
}
REFUSED = {
    "a mask": np.ma.masked_less(X, 0.5),
    "strings": X.astype(str),
    "complex": X.astype(complex),
    "objects": np.array([None, 1.0]),
    "ragged": [[1.0], [1.0, 2.0]],
    "times": np.array(["2020-01-01"], "datetime64[D]"),
    "NaN": np.array([np.nan]),
    "infinity": jnp.array([jnp.inf]),
    "too large": np.array([1e300]),
    "int64": np.array([2**31]),
    "uint64": np.array([2**63], np.uint64),
    "keys": jax.random.split(KEY, 2),
    "nothing": None,
}


@pytest.mark.parametrize("kind", SAME)
def test_arrays_of_every_origin_are_the_same_numbers(kind):
    model = diffusion.diffusion(nets.MLP((8, 8)), "linear", optax.sgd(0.1), shape=(2,))
    run = lambda x: training.fit(KEY, model, {"x": x}, steps=1, batch_size=8, progress=False)
    np.testing.assert_array_equal(jnp.asarray(as_array("x", SAME[kind])), X)
    usual, other = run(X), run(SAME[kind])
    assert jax.tree.all(jax.tree.map(np.array_equal, usual.params, other.params))


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_whose_numbers_would_change_are_refused(kind):
    with pytest.raises(DataError, match="^photo"):
        as_array("photo", REFUSED[kind])


def test_large_whole_numbers_are_kept_where_jax_can(x64):
    assert as_array("y", np.array([2**40]))[0] == 2**40


@pytest.mark.parametrize(
    "label", [np.int64(2**32), [2**32] * 4, 0.5, [0, 1, 2, 3], "one", [[0]] * 4]
)
def test_labels_to_sample(label):
    with pytest.raises(ConfigError, match="^label"):
        labels(3).checked(label, 4)
    assert labels(3).checked([0, 1, 2, 0], 4).tolist() == [0, 1, 2, 0]


def test_outputs_of_callables(key):
    x = normal(sample_keys(key, 4), (3,))
    good = per_point("f", lambda x: x.sum(1))
    np.testing.assert_array_equal(jax.jit(good)(x), jax.jit(lambda x: x.sum(1))(x))
    for bad in (lambda x: x, lambda x: x.sum(), lambda x: 0.0, lambda x: None, lambda x: "a"):
        with pytest.raises(ConfigError, match=r"^f returned .* allowed: one number per point"):
            per_point("f", bad)(x)
    for bad in (lambda x: x[:, :1], lambda x: (x, x), lambda x: [x], lambda x: 1.0):
        with pytest.raises(ConfigError, match="^f returned "):
            same_shape("f", bad)(x)
    tree = {"a": x, "b": x[:, 0]}
    same_shape("f", lambda tree: tree)(tree)
    for bad in (lambda tree: tree["a"], lambda tree: {"a": tree["a"]}):
        with pytest.raises(ConfigError, match="^f returned "):
            same_shape("f", bad)(tree)
    with pytest.raises(ConfigError, match="int32"):
        check_output("f", jnp.zeros(2, jnp.int32), (2,))


def reduce_on_plateau():
    return optax.chain(optax.sgd(0.05), optax.contrib.reduce_on_plateau(patience=1))


ADAM = optax.adam(1e-2)
FAMILIES = {
    "diffusion": lambda o: diffusion.diffusion(nets.MLP((8, 8)), "linear", o, shape=(2,)),
    "score_model": lambda o: energy.score_model(nets.EnergyNet((8,)), o, shape=(2,)),
    "vae": lambda o: vae.vae(
        vae.mlp((8,)), vae.mlp((8,)), o, shape=(2,), latent=1, likelihood="gaussian"
    ),
    "gan": lambda o: gan.gan(
        gan_nets.MLPGenerator((2,), (4,)),
        gan_nets.MLPCritic((4,)),
        o,
        o,
        shape=(2,),
        latent=2,
        unroll=1,
    ),
    "mixture": lambda o: classical.gaussian_mixture(2, shape=(2,), method="gradient", optimizer=o),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_optimizers_that_need_the_loss(name):
    """They get it: their state counts steps without progress, which only a loss can tell."""
    model = FAMILIES[name](reduce_on_plateau())
    state = training.fit(KEY, model, {"x": X}, steps=3, batch_size=16, progress=False)
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    best = [leaf for path, leaf in leaves if "best_value" in jax.tree_util.keystr(path)]
    assert best
    assert np.isfinite(np.asarray(best)).all()


def test_a_line_search_runs_and_descends():
    model = FAMILIES["mixture"](optax.lbfgs())
    batch = {"x": X}
    state = model.init(KEY, batch)
    step, losses = jax.jit(model.step), []
    for _ in range(8):
        state, metrics = step(KEY, state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]
    assert np.all(np.diff(losses) < 1e-4)


BROKEN = {
    "a number": 1e-3,
    "None": None,
    "a class": optax.GradientTransformation,
    "three results": optax.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s, 0)),
    "another state": optax.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, (0,))),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("name", ["diffusion", "gan", "vae"])
def test_what_is_no_optimizer_is_refused(name, what):
    with pytest.raises(ConfigError, match="optimizer"):
        training.fit(
            KEY, FAMILIES[name](BROKEN[what]), {"x": X}, steps=1, batch_size=8, progress=False
        )


SWAPPED = {
    "ends swapped": paths.GaussianPath(lambda t: t, lambda t: 1 - t),
    "no noise": paths.GaussianPath(lambda t: jnp.ones_like(t), lambda t: jnp.zeros_like(t)),
    "up and down": paths.GaussianPath(
        lambda t: jnp.ones_like(t), lambda t: 0.1 + jnp.sin(jnp.pi * t)
    ),
    "NaN": paths.GaussianPath(lambda t: jnp.sqrt(0.5 - t), lambda t: t),
    "negative": paths.GaussianPath(lambda t: 1 - t, lambda t: t - 0.5),
    "a number": paths.GaussianPath(lambda t: 1.0, lambda t: t),
    "a pair": (lambda t: 1 - t, lambda t: t),
    "a function": lambda t: t,
}


@pytest.mark.parametrize("what", SWAPPED)
def test_paths_that_are_none(what):
    with pytest.raises(ConfigError, match="^path"):
        diffusion.diffusion(nets.MLP((8, 8)), SWAPPED[what], ADAM, shape=(2,))


@pytest.mark.parametrize("name", paths.PATHS)
def test_every_path_is_one(name):
    path = paths.PATHS[name]()
    assert paths.check_path(path) is path


class Constant(nn.Module):
    """A network of zeros."""

    @nn.compact
    def __call__(self, x, noise, label=None):
        return self.param("scale", nn.initializers.zeros, ()) * x


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_guidance_that_is_no_number(weight):
    model = diffusion.diffusion(Constant(), "vp", ADAM, shape=(2,), condition=conditions.labels(3))
    batch = {"x": X, "y": np.arange(16) % 3}
    state = model.init(KEY, batch)
    with pytest.raises(ConfigError, match=r"^guidance="):
        model.sample(KEY, state, 2, label=1, guidance=weight)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_whole_numbers_are_fitted_as_real_ones(dtype):
    """An option cast to the data's dtype would be 0."""
    x = (X * 200).astype(dtype)
    real = x.astype(np.float32)
    for fit in (
        lambda x: classical.fit_em(KEY, x, 2),
        lambda x: classical.fit_gradient(KEY, x, 2, steps=5),
        lambda x: classical.gaussian_image.fit(x, epsilon=0.5),
        lambda x: classical.random_phase_noise(KEY, np.tile(x[:, :, None], (1, 5, 1))),
        lambda x: as_floats("x", x),
    ):
        one, other = jax.tree.leaves(fit(x)), jax.tree.leaves(fit(real))
        for a, b in zip(one, other):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_a_mixture_takes_whole_numbers_as_real_ones(as_users_compile):
    x = (X * 200).astype(np.uint8)
    model = classical.gaussian_mixture(2, shape=(2,))
    run = lambda x: training.fit(KEY, model, {"x": x}, steps=1, batch_size=16, progress=False)
    one, other = jax.tree.leaves(run(x)), jax.tree.leaves(run(x.astype(np.float32)))
    for a, b in zip(one, other):
        if not jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6)
