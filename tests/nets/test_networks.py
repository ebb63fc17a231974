"""Laws over the registry of conditional networks, and what each network does beyond them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.errors import ConfigError
from gen_jax.nets.embeddings import Condition, position_2d, sinusoidal

SMALL = {
    "mlp": {"features": (16, 24)},
    "unet": {"widths": (8, 12), "blocks": 1, "attention": (8,)},
    "dit": {"patch": 2, "width": 16, "depth": 1, "heads": 2},
}
CLASSES = 3
SHAPE = (3, 8, 8, 2)


def perturbed(key, variables):
    """Every parameter moved by noise, so that zero-initialised layers pass something on."""
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    moved = [p + 0.2 * jax.random.normal(k, p.shape, p.dtype) for k, p in zip(keys, leaves)]
    return jax.tree.unflatten(tree, moved)


def build(key, name, shape=SHAPE, **options):
    """(network, perturbed variables, x, noise, label) at the smallest size."""
    key_init, key_move, key_x = jax.random.split(key, 3)
    network = nets.NETWORKS[name](**{**SMALL[name], "num_classes": CLASSES, **options})
    x = jax.random.normal(key_x, shape)
    noise = jnp.linspace(-2.0, 2.0, shape[0])
    variables = jax.jit(network.init)(key_init, x, noise)
    return network, perturbed(key_move, variables), x, noise, jnp.arange(shape[0]) % CLASSES


@pytest.fixture(params=sorted(nets.NETWORKS))
def name(request):
    return request.param


def test_every_network_module_is_registered_and_tested():
    modules = {n for n in nets.__all__ if isinstance(getattr(nets, n), type)} - {"Classifier"}
    assert {v.__name__ for v in nets.NETWORKS.values()} == modules
    assert set(SMALL) == set(nets.NETWORKS)


def test_starts_at_zero_with_the_shape_of_x(key, name):
    network = nets.NETWORKS[name]()
    x = jax.random.normal(key, SHAPE)
    y = network.apply(jax.jit(network.init)(key, x, jnp.zeros(3)), x, jnp.zeros(3))
    assert y.shape == x.shape
    assert y.dtype == jnp.float32
    assert not np.any(y)


def test_examples_of_a_batch_do_not_mix(key, name):
    network, variables, x, noise, label = build(key, name)
    whole = network.apply(variables, x, noise, label)
    assert float(jnp.std(whole)) > 0.1
    for i in range(len(x)):
        alone = network.apply(variables, x[i : i + 1], noise[i : i + 1], label[i : i + 1])
        np.testing.assert_allclose(alone[0], whole[i], rtol=1e-4, atol=1e-4)


def test_label_and_noise_matter_and_none_is_the_last_row(key, name):
    network, variables, x, noise, label = build(key, name)
    apply = jax.jit(network.apply)
    y = apply(variables, x, noise, label)
    other = apply(variables, x, noise, (label + 1) % CLASSES)
    louder = apply(variables, x, noise + 0.1, label)
    assert float(jnp.abs(other - y).max()) > 1e-2
    assert float(jnp.abs(louder - y).max()) > 1e-3
    nothing = apply(variables, x, noise, jnp.full(3, CLASSES))
    np.testing.assert_array_equal(network.apply(variables, x, noise).shape, y.shape)
    np.testing.assert_allclose(apply(variables, x, noise, None), nothing, atol=1e-5)
    assert float(jnp.abs(nothing - y).max()) > 1e-2


@pytest.mark.parametrize("bad", [-1, CLASSES + 1])
def test_a_label_out_of_range_is_nan_not_another_class(key, name, bad):
    network, variables, x, noise, label = build(key, name)
    y = network.apply(variables, x, noise, label.at[1].set(bad))
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[0]).all()


def test_bfloat16_computes_with_float32_parameters_and_output(key, name):
    network, variables, x, noise, label = build(key, name)
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    low = network.clone(dtype=jnp.bfloat16)
    initial = jax.eval_shape(low.init, key, x, noise)
    assert {p.dtype for p in jax.tree.leaves(initial)} == {jnp.dtype("float32")}
    y, exact = low.apply(variables, x, noise, label), network.apply(variables, x, noise, label)
    assert y.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((y - exact) ** 2) / jnp.mean(exact**2)))
    assert 1e-5 < error < 0.1


def test_traces_once(key, name, count_traces):
    network, variables, x, noise, label = build(key, name)
    counted = count_traces(network.apply)
    run = jax.jit(counted)
    for i in range(3):
        run(variables, x + i, noise * i, (label + i) % CLASSES)
    assert counted.calls == 1


def test_jvp_agrees_with_finite_differences(key, name, x64):
    network, variables, x, noise, label = build(key, name, dtype=jnp.float64)
    x = x.astype(jnp.float64)
    tangent = jax.random.normal(key, x.shape, jnp.float64)
    f = lambda x: network.apply(variables, x, noise, label)
    _, slope = jax.jvp(f, (x,), (tangent,))
    h = 1e-2  # the output is float32 by contract, so rounding is 1e-7 / h
    numeric = (f(x + h * tangent) - f(x - h * tangent)) / (2 * h)
    scale = float(jnp.abs(slope).max())
    np.testing.assert_allclose(slope, numeric, atol=5e-3 * scale)


def test_jvp_reaches_the_noise_level(key, name):
    network, variables, x, noise, label = build(key, name)
    f = lambda noise: network.apply(variables, x, noise, label)
    _, slope = jax.jvp(f, (noise,), (jnp.ones_like(noise),))
    assert np.isfinite(slope).all()
    assert float(jnp.abs(slope).max()) > 1e-2


def test_one_noise_level_stands_for_the_whole_batch(key, name):
    network, variables, x, _, label = build(key, name)
    one = network.apply(variables, x, jnp.float32(0.3), label)
    np.testing.assert_allclose(one, network.apply(variables, x, jnp.full(3, 0.3), label), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7, 5, 1), (1, 9, 8, 3)])
def test_any_image_size(key, name, shape):
    network, variables, x, noise, _ = build(key, name, shape)
    y = network.apply(variables, x, noise)
    assert y.shape == shape
    assert np.isfinite(y).all()


def test_dropout_needs_a_key_only_when_asked(key, name):
    network, variables, x, noise, label = build(key, name, dropout=0.5)
    plain = network.clone(dropout=0.0).apply(variables, x, noise, label)
    np.testing.assert_array_equal(network.apply(variables, x, noise, label), plain)
    noisy = network.apply(variables, x, noise, label, deterministic=False, rngs={"dropout": key})
    assert float(jnp.abs(noisy - plain).max()) > 1e-3


def test_points(key):
    _, variables, x, noise, label = build(key, "mlp", (5, 2))
    network = nets.MLP(**SMALL["mlp"], num_classes=CLASSES)
    assert network.apply(variables, x, noise, label).shape == (5, 2)


def test_label_without_classes_is_refused(key, name):
    network = nets.NETWORKS[name](**SMALL[name])
    with pytest.raises(ConfigError, match="num_classes=0"):
        network.init(key, jnp.zeros(SHAPE), jnp.zeros(3), jnp.zeros(3, jnp.int32))


@pytest.mark.parametrize(
    ("network", "options", "word"),
    [
        ("mlp", {"features": ()}, "features"),
        ("mlp", {"features": (0,)}, "features"),
        ("mlp", {"num_classes": -1}, "num_classes"),
        ("mlp", {"dropout": 1.5}, "dropout"),
        ("unet", {"widths": ()}, "widths"),
        ("unet", {"widths": (8, -8)}, "widths"),
        ("unet", {"blocks": 0}, "blocks"),
        ("dit", {"patch": 0}, "patch"),
        ("dit", {"width": 18, "heads": 2}, "width"),
        ("dit", {"width": 16, "heads": 3}, "heads"),
        ("dit", {"depth": 0}, "depth"),
    ],
)
def test_bad_options_are_refused_at_once(network, options, word):
    with pytest.raises(ConfigError, match=word):
        nets.NETWORKS[network](**options)


@pytest.mark.parametrize("image_network", ["unet", "dit"])
def test_wrong_shapes_are_refused(key, image_network):
    network = nets.NETWORKS[image_network](**SMALL[image_network])
    with pytest.raises(ConfigError, match=r"\[B, H, W, C\]"):
        network.init(key, jnp.zeros((3, 2)), jnp.zeros(3))
    with pytest.raises(ConfigError, match="noise"):
        network.init(key, jnp.zeros(SHAPE), jnp.zeros(2))


def test_attention_is_placed_where_asked(key):
    shapes = lambda attention: jax.eval_shape(
        nets.UNet(widths=(8, 8), blocks=2, attention=attention).init,
        key,
        jnp.zeros((1, 8, 8, 1)),
        jnp.zeros(1),
    )["params"]
    count = lambda tree: sum(name.startswith("AttentionBlock") for name in tree)
    assert [count(shapes(a)) for a in ((), (8,), (4, 8))] == [1, 5, 9]


def test_noise_embedding_resolves_a_fine_grid_that_bfloat16_would_not():
    noise = jnp.linspace(-2.5, 2.5, 1001)
    gap = lambda v: jnp.linalg.norm(jnp.diff(sinusoidal(v, 64), axis=0), axis=1).min()
    assert float(gap(noise)) > 0.1
    assert float(gap(noise.astype(jnp.bfloat16))) == 0.0  # what would happen inside the network
    features = sinusoidal(noise[::20], 64)
    distance = jnp.linalg.norm(features[:, None] - features[None], axis=-1)
    assert float((distance + 10 * jnp.eye(len(features))).min()) > 1.0  # no two levels look alike


def test_condition_is_float32_inside_a_bfloat16_network(key):
    module = Condition(16, 2)
    variables = module.init(key, jnp.zeros(2))
    close = jnp.array([1.0, 1.002])  # equal in bfloat16
    out = module.apply(variables, close)
    assert out.dtype == jnp.float32
    assert float(jnp.abs(out[1] - out[0]).max()) > 1e-3


def test_positions_are_distinct_and_scale_with_the_grid():
    grid = position_2d(6, 9, 32)
    distance = jnp.linalg.norm(grid[:, None] - grid[None], axis=-1) + 10 * jnp.eye(54)
    assert grid.shape == (54, 32)
    assert float(distance.min()) > 0.3
    corner = position_2d(3, 4, 32).reshape(3, 4, 32)
    np.testing.assert_allclose(grid.reshape(6, 9, 32)[:3, :4], corner, atol=1e-6)
