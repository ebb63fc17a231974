"""Laws over the registry of conditional networks, and what each network does beyond them."""

import inspect
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from small_networks import LAYERED, SMALLEST, layered

from gen_jax import gan_nets, nets
from gen_jax.errors import ConfigError
from gen_jax.nets.blocks import GroupNorm
from gen_jax.nets.embeddings import ConditionEmbedding, position_2d, sinusoidal
from gen_jax.nets.unet import ResidualBlock, check_heights

CLASSES = 3
SHAPE = (3, 8, 8, 2)


def random_variables(network, *arguments):
    """Parameters at random, so that zero-initialised layers pass something on."""
    draw = np.random.default_rng(0).normal
    shapes = jax.eval_shape(network.init, jax.random.key(0), *arguments)
    fill = lambda p: jnp.asarray(0.3 * draw(size=p.shape), p.dtype)
    return jax.tree.map(fill, shapes)


@cache
def build(name, shape=SHAPE, **options):
    """(jitted apply, variables, x, noise, label) of a network at its smallest size."""
    network = layered(name, **{"num_classes": CLASSES, **options})
    x = jax.random.normal(jax.random.key(1), shape)
    noise = jnp.linspace(-2.0, 2.0, shape[0])
    variables = random_variables(network, x, noise)
    return jax.jit(network.apply), variables, x, noise, jnp.arange(shape[0]) % CLASSES


@pytest.fixture(params=sorted(nets.NETWORKS))
def name(request):
    return request.param


def test_every_network_of_a_noise_level_is_registered_and_tested():
    def sees_noise(module):
        noise = inspect.signature(module.__call__).parameters.get("noise")
        return noise is not None and noise.default is noise.empty

    modules = {n for n in nets.__all__ if isinstance(getattr(nets, n), type)}
    noisy = {name for name in modules if sees_noise(getattr(nets, name))}
    # Tested with the models of tokens, with variational diffusion, and beside its base.
    elsewhere = {"TokenTransformer", "TokenDiT", "FourierFeatures", "ControlledDiT"}
    assert {v.__name__ for v in nets.NETWORKS.values()} == noisy - elsewhere
    assert LAYERED.keys() | SMALLEST.keys() <= nets.NETWORKS.keys()


def test_starts_at_zero_with_the_shape_of_x(key, name):
    network = nets.NETWORKS[name]()
    x = jax.random.normal(key, SHAPE)
    y, _ = jax.jit(network.init_with_output)(key, x, jnp.zeros(3))
    assert y.shape == x.shape
    assert y.dtype == jnp.float32
    assert not np.any(y)


def test_twice_the_channels(key, name):
    network, x = nets.NETWORKS[name](outputs=2), jnp.zeros(SHAPE)
    whole = lambda key, x: network.init_with_output(key, x, jnp.zeros(3))[0]
    assert jax.eval_shape(whole, key, x).shape == (*SHAPE[:-1], 2 * SHAPE[-1])
    with pytest.raises(ConfigError, match="outputs=0"):
        nets.NETWORKS[name](outputs=0)


def mixing(apply, variables, x, noise, label):
    """Largest difference between an example computed in the batch and alone."""
    whole = apply(variables, x, noise, label)
    assert float(jnp.std(whole)) > 0.1
    one = lambda i: apply(variables, x[i : i + 1], noise[i : i + 1], label[i : i + 1])[0]
    return max(float(jnp.abs(one(i) - whole[i]).max()) for i in range(len(x)))


def test_examples_of_a_batch_do_not_mix(name):
    apply, *arguments = build(name)
    scale = float(jnp.abs(apply(*arguments)).max())
    assert mixing(apply, *arguments) < 1e-4 * scale

    def batch_normalised(variables, x, *rest):  # planted
        return apply(variables, x - 0.01 * x.mean(0), *rest)

    assert mixing(batch_normalised, *arguments) > 1e-3 * scale


def test_a_skip_joins_as_if_concatenated(key):
    """The block's first convolution over (x, skip) is one convolution over the concatenation."""
    x, skip = jax.random.normal(key, (2, 2, 6, 6, 8))
    condition = jnp.zeros((2, 4))
    block = ResidualBlock(8)
    variables = random_variables(block, x, condition, skip)
    kernels = [variables["params"][f"Conv_{i}"]["kernel"] for i in (0, 1)]
    seen = block.apply(variables, x, condition, skip, capture_intermediates=True)[1]
    seen = seen["intermediates"]
    normal = [jax.nn.silu(seen[f"GroupNorm_{i}"]["__call__"][0]) for i in (0, 1)]
    joined = jax.lax.conv_general_dilated(
        jnp.concatenate(normal, -1),
        jnp.concatenate(kernels, 2),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    parts = [seen[f"Conv_{i}"]["__call__"][0] for i in (0, 1)]
    bias = variables["params"]["Conv_0"]["bias"]
    np.testing.assert_allclose(sum(parts), joined + bias, rtol=1e-4, atol=1e-4)


def test_group_norm_agrees_with_flax(key):
    x = 3 + 2 * jax.random.normal(key, (2, 5, 4, 24))
    module = GroupNorm()
    variables = random_variables(module, x)
    reference = nn.GroupNorm(num_groups=8).apply(
        {"params": {"scale": variables["params"]["scale"], "bias": variables["params"]["shift"]}}, x
    )
    np.testing.assert_allclose(module.apply(variables, x), reference, atol=1e-5)
    scale, shift = (variables["params"][n] for n in ("scale", "shift"))
    given = jnp.broadcast_to(jnp.concatenate([scale - 1, shift]), (2, 48))
    np.testing.assert_allclose(module.apply({}, x, given), reference, atol=1e-5)


def test_label_and_noise_matter_and_none_is_the_last_row(name):
    apply, variables, x, noise, label = build(name)
    y = apply(variables, x, noise, label)
    other = apply(variables, x, noise, (label + 1) % CLASSES)
    louder = apply(variables, x, noise + 0.1, label)
    assert float(jnp.abs(other - y).max()) > 1e-2
    assert float(jnp.abs(louder - y).max()) > 1e-3
    nothing = apply(variables, x, noise, jnp.full(3, CLASSES))
    np.testing.assert_allclose(apply(variables, x, noise, None), nothing, atol=1e-5)
    assert float(jnp.abs(nothing - y).max()) > 1e-2


@pytest.mark.parametrize("bad", [-1, CLASSES + 1])
def test_a_label_out_of_range_is_nan_not_another_class(name, bad):
    apply, variables, x, noise, label = build(name)
    y = apply(variables, x, noise, label.at[1].set(bad))
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[0]).all()


def test_bfloat16_computes_with_float32_parameters_and_output(name):
    apply, variables, x, noise, label = build(name)
    low, low_variables, *_ = build(name, dtype=jnp.bfloat16)
    assert {p.dtype for p in jax.tree.leaves(low_variables)} == {jnp.dtype("float32")}
    y, exact = low(variables, x, noise, label), apply(variables, x, noise, label)
    assert y.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((y - exact) ** 2) / jnp.mean(exact**2)))
    assert 1e-5 < error < 0.1


def test_traces_once(name, count_traces):
    network = layered(name, num_classes=CLASSES)
    _, variables, x, noise, label = build(name)
    counted = count_traces(network.apply)
    run = jax.jit(counted)
    for i in range(3):
        run(variables, x + i, noise * i, (label + i) % CLASSES)
    assert counted.calls == 1


def test_forward_and_reverse_derivatives_agree(name):
    """<u, J v> = <J^T u, v> in x and in the noise level, as flow maps need them."""
    apply, variables, x, noise, label = build(name)
    f = lambda x, noise: apply(variables, x, noise, label)
    v = (jnp.cos(jnp.arange(x.size)).reshape(x.shape), jnp.array([0.3, -0.2, 0.5]))
    u = jnp.sin(jnp.arange(x.size)).reshape(x.shape)
    y, forward = jax.jit(lambda x, noise: jax.jvp(f, (x, noise), v))(x, noise)
    backward = jax.jit(lambda x, noise: jax.vjp(f, x, noise)[1](u))(x, noise)
    pairs = [float(jnp.vdot(a, b)) for a, b in ((u, forward), (v[0], backward[0]))]
    whole = pairs[1] + float(jnp.vdot(v[1], backward[1]))
    size = float(jnp.linalg.norm(u) * jnp.linalg.norm(forward))
    assert abs(pairs[0] - whole) < 1e-4 * size
    assert abs(pairs[0] - pairs[1]) > 1e-3 * size  # the noise level's share is not nothing
    assert np.isfinite(y).all()


def test_one_noise_level_stands_for_the_whole_batch(name):
    apply, variables, x, _, label = build(name)
    one = apply(variables, x, jnp.float32(0.3), label)
    np.testing.assert_allclose(one, apply(variables, x, jnp.full(3, 0.3), label), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7, 5, 1), (1, 9, 8, 3)])
def test_any_image_size(name, shape):
    padded = shape[1] + 1  # a multiple of the two levels' scale
    options = {"attention": (padded,)} if name == "unet" else {}
    apply, variables, x, noise, _ = build(name, shape, **options)
    y = apply(variables, x, noise)
    assert y.shape == shape
    assert np.isfinite(y).all()


def test_dropout_needs_a_key_only_when_asked(key, name):
    plain, variables, x, noise, label = build(name)
    network = layered(name, num_classes=CLASSES, dropout=0.5)
    noisy = jax.jit(
        lambda key: network.apply(
            variables, x, noise, label, deterministic=False, rngs={"dropout": key}
        )
    )
    y = plain(variables, x, noise, label)
    np.testing.assert_allclose(jax.jit(network.apply)(variables, x, noise, label), y, atol=1e-5)
    assert float(jnp.abs(noisy(key) - y).max()) > 1e-3


def test_points():
    apply, variables, x, noise, label = build("mlp", (5, 2))
    assert apply(variables, x, noise, label).shape == (5, 2)


def test_label_without_classes_is_refused(key, name):
    network = layered(name)
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
    network = layered(image_network)
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
    for wrong in ((7,), (8, 2), (16,)):
        with pytest.raises(ConfigError, match=rf"attention=.*{wrong[-1]} high.*\[8, 4\]"):
            shapes(wrong)


def test_the_levels_of_a_padded_image_are_those_of_the_padding(key):
    network = nets.UNet(widths=(8, 8), blocks=1, attention=(3,))
    init = lambda height: jax.eval_shape(network.init, key, jnp.zeros((1, height, 6, 1)), 0.0)
    assert "AttentionBlock_1" in init(5)["params"]
    with pytest.raises(ConfigError, match=r"\[8, 4\]"):
        init(8)
    with pytest.raises(ConfigError, match="attention=0"):
        nets.UNet(attention=(0,))


def test_noise_embedding_resolves_a_fine_grid_that_bfloat16_would_not():
    noise = jnp.linspace(-2.5, 2.5, 1001)
    gap = lambda v: jnp.linalg.norm(jnp.diff(sinusoidal(v, 64), axis=0), axis=1).min()
    assert float(gap(noise)) > 0.04
    assert float(gap(noise.astype(jnp.bfloat16))) == 0.0  # what would happen inside the network
    features = sinusoidal(noise[::20], 64)
    distance = jnp.linalg.norm(features[:, None] - features[None], axis=-1)
    assert float((distance + 10 * jnp.eye(len(features))).min()) > 0.9  # no two levels look alike


def test_condition_is_float32_inside_a_bfloat16_network(key):
    module = ConditionEmbedding(16, 2)
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


@pytest.mark.parametrize("attention", [16, "16", None])
def test_attention_that_is_no_tuple_is_refused(attention):
    with pytest.raises(ConfigError, match=f"attention={attention!r} must be a tuple"):
        check_heights(attention)  # which UNet calls, behind the type checker of the tests


def test_networks_name_their_arguments_alike():
    """(x, condition), with the noise level (x, noise, condition), of generators (z, condition); the
    head of a critic sees features."""
    public = [getattr(room, name) for room in (nets, gan_nets) for name in room.__all__]
    modules = [value for value in public if inspect.isclass(value) and issubclass(value, nn.Module)]
    calls = [[*inspect.signature(network.__call__).parameters][1:] for network in modules]
    before = {tuple(c[: c.index("condition")]) for c in calls if "condition" in c}
    assert before == {("x",), ("x", "noise"), ("z",), ("features",)}
