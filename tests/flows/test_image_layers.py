"""Layers of images: masks, shapes, what actnorm takes from data, conditions, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled

from gen_jax import flows
from gen_jax.errors import ConfigError
from gen_jax.flows import IMAGE_MASKS, chain, glow, make_bijector, start_from_data

KEY = jax.random.key(0)


def test_masks_come_in_pairs_that_share_the_image_out():
    for one, other in (
        ("even_pixels", "odd_pixels"),
        ("top", "bottom"),
        ("first_channels", "last_channels"),
    ):
        masks = [IMAGE_MASKS[name]((5, 6, 4)) for name in (one, other)]
        assert masks[0].shape == (5, 6, 4)
        np.testing.assert_array_equal(masks[0], ~masks[1])
    board = IMAGE_MASKS["even_pixels"]((4, 4, 2))
    np.testing.assert_array_equal(board[:2, :2, 0], [[True, False], [False, True]])
    assert IMAGE_MASKS["top"]((4, 4, 1))[:2].all()


@pytest.mark.parametrize("mask", IMAGE_MASKS)
def test_what_the_mask_keeps_stays_and_decides(mask):
    layer = flows.image_coupling(flows.affine(), mask, 4, 0)
    x = jax.random.normal(KEY, (1, 4, 4, 2))
    bijector = layer.bijector(filled(layer, (4, 4, 2)))
    y, _ = jax.jit(bijector.forward)(x)
    stays = np.broadcast_to(IMAGE_MASKS[mask]((4, 4, 2)), x.shape)
    np.testing.assert_array_equal(y[stays], x[stays])
    assert np.abs(y - x)[~stays].min() > 0
    other = jnp.where(stays, x, x + 1)
    slope = (bijector.forward(other)[0] - y)[~stays]
    np.testing.assert_allclose(np.log(slope).sum(), bijector.forward(x)[1][0], rtol=1e-4)


def test_squeeze_makes_neighbours_channels():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    bijector = make_bijector("squeeze").bijector(())
    z, log_det = bijector.inverse(x)
    np.testing.assert_array_equal(z[0, 0, 0], [0, 1, 4, 5])
    np.testing.assert_array_equal(bijector.forward(z)[0], x)
    assert log_det.shape == (1,)
    assert glow(2, 1).base_shape((8, 8, 1)) == (4, 4, 4)


@pytest.fixture(scope="module")
def begun():
    """A Glow, its parameters set by data of odd means and scales, and the data."""
    layer = glow(1, 2, width=4, network_depth=0)
    x = 3 + 7 * jax.random.normal(KEY, (256, 4, 4, 2)) ** 3
    params = jax.jit(lambda key: layer.init(key, (4, 4, 2)))(KEY)
    return layer, params, jax.jit(lambda p, x: start_from_data(layer, p, x))(params, x), x


def test_actnorms_whiten_their_channels_at_every_depth(begun):
    layer, before, params, x = begun
    inverse = jax.jit(lambda p: layer.bijector(p).inverse(x)[0])
    z = inverse(params)
    # Couplings are the identity at first and rotations keep the mean square.
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.square(z).mean(), 1, rtol=1e-3)
    assert jnp.square(inverse(before)).mean() > 10
    # One scale per channel: its log counts at every pixel (4 of the squeezed image, 8 channels).
    first = flows.actnorm()
    p = start_from_data(first, first.init(KEY, (4, 4, 2)), x)
    wanted = -16 * np.log(np.asarray(x).std((0, 1, 2))).sum()
    np.testing.assert_allclose(first.bijector(p).inverse(x)[1], wanted, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_actnorm_takes_data_of_any_size_and_constant_channels(size):
    layer = flows.actnorm()
    x = size * jnp.stack([jnp.array([0.0, 1, 2, 5]), jnp.full(4, 3.0)], 1)
    params = start_from_data(layer, layer.init(KEY, 2), x)
    z = layer.bijector(params).inverse(x)[0]
    np.testing.assert_allclose(z.std(0), [1, 0], rtol=1e-4, atol=1e-4)


def test_start_is_explicit_and_changes_actnorms_only(begun):
    _, before, params, x = begun
    same = lambda a, b: bool((a == b).all())
    changed = jax.tree.map(lambda a, b: not same(a, b), before, params)
    flat = jax.tree_util.tree_flatten_with_path(changed)[0]
    names = {path[-1].key for path, differs in flat if differs and hasattr(path[-1], "key")}
    assert names == {"log_scale", "shift"}
    coupling = flows.coupling(flows.affine())
    start = coupling.init(KEY, 3)
    assert start_from_data(coupling, start, jnp.ones((2, 3))) is start
    half = flows.factor_out(flows.actnorm())
    begun_half = start_from_data(half, half.init(KEY, (4, 4, 2)), x)
    np.testing.assert_allclose(begun_half["shift"], x[..., :1].mean((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "dim"),
    [
        (lambda: flows.coupling(flows.affine()), 4),
        (lambda: flows.masked_autoregressive(flows.affine()), 4),
        (lambda: flows.image_coupling(flows.affine(), "first_channels", 4, 0), (2, 2, 2)),
    ],
)
def test_conditions_reach_the_map_and_stay_with_their_example(make, dim):
    layer = make()
    label_rows = jax.nn.one_hot(jnp.array([0, 2, 1]), 3)
    shapes = jax.eval_shape(lambda key: layer.init(key, dim, 3), KEY)
    params = jax.tree.map(lambda p: jnp.cos(jnp.arange(p.size * 1.0)).reshape(p.shape), shapes)
    shape = (3, dim) if isinstance(dim, int) else (3, *dim)
    x = jnp.broadcast_to(jax.random.normal(KEY, shape[1:]), shape)
    both = jax.jit(lambda x, label_rows: layer.bijector(params, label_rows).forward(x))
    y, log_det = both(x, label_rows)
    assert np.abs(y[0] - y[1]).max() > 1e-3
    assert len(np.unique(np.round(log_det, 4))) == 3
    alone, _ = both(x[1:2], label_rows[1:2])
    np.testing.assert_allclose(alone[0], y[1], rtol=1e-5, atol=1e-5)
    back, _ = jax.jit(lambda y: layer.bijector(params, label_rows).inverse(y))(y)
    np.testing.assert_allclose(back, x, atol=1e-4)


def test_conditions_pass_through_chains_and_halves():
    layer = glow(2, 1, width=4, network_depth=0)
    shapes = jax.eval_shape(lambda key: layer.init(key, (4, 4, 1), 3), KEY)
    fill = lambda p: 0.2 * jnp.cos(jnp.arange(p.size * 1.0)).reshape(p.shape)
    params = jax.tree.map(lambda p: fill(p) + (jnp.eye(len(p)) if p.ndim == 2 else 0), shapes)
    x = jax.random.normal(KEY, (2, 4, 4, 1))
    label_rows = jax.nn.one_hot(jnp.array([0, 2]), 3)
    run = jax.jit(lambda label_rows: layer.bijector(params, label_rows).inverse(x)[1])
    assert np.all(np.abs(run(label_rows) - run(label_rows[::-1])) > 1e-5)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: flows.squeeze(), (5, 4, 1), "height 5 and width 4 must be multiples of 2"),
        (lambda: glow(2, 1), (6, 6, 1), "height 3 and width 3 must be multiples of 2"),
        (lambda: flows.realnvp_images(2), (6, 6, 1), "height 3 and width 3 must be multiples of 2"),
        (lambda: flows.realnvp_images(2), (4, 4, 1), r"levels=2 leaves one pixel .*\(4, 4, 1\)"),
        (lambda: flows.factor_out(flows.actnorm()), (4, 4, 3), "channels 3 must be even"),
        (lambda: flows.squeeze(), 4, "must be .H, W, C."),
        (lambda: flows.image_coupling(flows.affine()), (4, 4, 1), "nothing to couple"),
        (lambda: flows.invert(flows.squeeze()), (4, 4, 1), "changes the shape"),
    ],
)
def test_shapes_that_cannot_work(make, shape, message):
    with pytest.raises(ConfigError, match=message):
        make().init(KEY, shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flows.image_coupling(flows.affine(), "even"), "mask='even'"),
        (lambda: glow(0), "levels"),
        (lambda: glow(mixing="qr"), "mixing='qr'"),
        (lambda: glow(coupling="cubic"), "coupling='cubic'"),
        (lambda: flows.make_flow("real_nvp"), "did you mean 'realnvp'"),
        (lambda: flows.make_flow("maf", 0), "layers=0"),
    ],
)
def test_bad_options_of_images_and_stacks(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("name", ["realnvp", "planar", "radial"])
def test_stacks_integrate_to_one_from_the_start_on(x64, name):
    """Two layers with actnorms set by points; quadrature in the plane (all are smooth)."""
    layer = chain(flows.make_flow(name, 2, (8,)))
    x = jax.random.normal(KEY, (200, 2)) * jnp.array([2.0, 0.5]) + 1
    params = start_from_data(layer, filled(layer, 2, size=0.3, dtype=jnp.float64), x)
    line = np.linspace(-20, 20, 401)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    log_q = jax.jit(lambda x: flows.density.log_density(layer.bijector(params), x))(points)
    total = np.exp(np.asarray(log_q)).sum() * (line[1] - line[0]) ** 2
    assert total == pytest.approx(1, abs=4e-3)
