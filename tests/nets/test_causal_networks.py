"""Which inputs move which outputs, by differentiation and by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.errors import ConfigError
from gen_jax.nets.transformer import shifted

SIDE = 5
NETWORKS = {
    "pixel_rnn": (nets.PixelRNN, {"width": 12, "depth": 1, "first": 3}),
    "pixelcnn": (nets.PixelCNN, {"width": 12, "depth": 5, "first": 3}),
    "gated": (nets.GatedPixelCNN, {"width": 12, "depth": 5}),
    "pixelcnn_pp": (nets.PixelCNNPlusPlus, {"width": 6, "blocks": 1}),
}
CASES = [(name, units) for name in NETWORKS for units in (1, 2)][:-1]


def filled(network, *arguments, **options):
    """Variables with nothing at zero."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *arguments, **options)
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda p: jnp.asarray(0.4 * draw(size=p.shape), p.dtype), shapes)


def influence(apply, x):
    """How much each value moves each unit [units, values], both in raster order.

    The largest of three derivatives of a random combination of a unit's outputs.
    """

    def combined(x):
        out = apply(x).reshape(-1, 3)
        return out @ jnp.array([1.0, -0.7, 0.4])

    jacobian = jax.jit(jax.jacrev(combined))
    parts = [jacobian(x + 0.3 * i).reshape(-1, x.size) for i in range(3)]
    return np.abs(np.stack(parts)).max(0)


def measured(name, units, channels=2):
    kind, options = NETWORKS[name]
    network = kind(3, units, **options)
    x = jax.random.normal(jax.random.key(1), (1, SIDE, SIDE, channels))
    variables = filled(network, x)
    moves = influence(lambda x: network.apply(variables, x), x)
    pixels = SIDE * SIDE
    return moves.reshape(pixels, units, pixels, channels)


def allowed(units, channels=2):
    """Whether a value comes before a unit, [pixels, units, pixels, channels]."""
    unit = np.arange(SIDE * SIDE * units).reshape(-1, units) * (channels // units)
    value = np.arange(SIDE * SIDE * channels).reshape(-1, channels)
    return value < unit[:, :, None, None]


@pytest.mark.parametrize(("name", "units"), CASES)
def test_units_move_with_those_before_them_only(name, units):
    """Strictly triangular; the gated networks see all, the two older ones have their known gaps."""
    moves, before = measured(name, units), allowed(units)
    assert not moves[~before].any()
    seen = moves > 1e-12
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    up, aside = row[:, None] - row, column - column[:, None]  # [from pixel, to pixel]
    missing = (before & ~seen).any((1, 3))
    if name == "pixel_rnn":
        assert not missing[(np.abs(aside) <= up) & (up > 0)].any()
        assert missing[(aside > up) & (up > 0)].all()
    elif name == "pixelcnn":
        # To the right at most one column per row above: the blind spot.
        np.testing.assert_array_equal(missing, before.any((1, 3)) & (aside > up) & (up > 0))
    else:
        assert not missing.any()


def test_a_network_that_sees_its_own_pixel_is_caught():
    """Planted: the image moved by one pixel."""
    network = nets.GatedPixelCNN(3, width=4, depth=2)
    x = jax.random.normal(jax.random.key(1), (1, SIDE, SIDE, 1))
    variables = filled(network, x)
    moves = influence(lambda x: network.apply(variables, jnp.roll(x, -1, 2)), x)
    assert np.diagonal(moves).any()


def test_transformer_is_causal():
    network = nets.Transformer(5, 7, width=8, depth=2, heads=2)
    tokens = jnp.array([[0, 3, 1, 4, 2, 0, 3]])
    variables = filled(network, tokens)
    rows = jnp.concatenate([tokens, (tokens + jnp.eye(7, dtype=jnp.int32)) % 5])
    out = jax.jit(network.apply)(variables, shifted(rows, 5))
    moved = np.abs(out[1:] - out[:1]).max(-1) > 1e-5  # [changed, place]
    np.testing.assert_array_equal(moved, np.triu(np.ones((7, 7), bool), 1))


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("hidden", [(3,), (9, 5)])
def test_made_in_any_ordering(direct, hidden):
    """Fewer hidden units than coordinates lose inputs, unless the outputs see them directly."""
    order = np.array([4, 0, 5, 2, 1, 3])
    rank = jnp.asarray(np.argsort(order))
    network = nets.MADE(6, 2, hidden, direct=direct, condition_size=2)
    x, label_rows = jax.random.normal(jax.random.key(1), (1, 6)), jnp.eye(2)
    variables = filled(network, x, label_rows[1:], rank)
    apply = jax.jit(
        lambda x: network.apply(variables, x, jnp.repeat(label_rows[1:], len(x), 0), rank)
    )
    out = apply(jnp.concatenate([x, x + jnp.eye(6)]))
    moved = np.abs(out[1:] - out[:1]).max(-1) > 1e-6
    before = np.argsort(order)[:, None] < np.argsort(order)
    assert not moved[~before].any()
    assert moved[before].all() == (direct or hidden == (9, 5))
    other = network.apply(variables, x, label_rows[:1], rank)
    assert np.abs(other - out[:1])[0, order[1:]].min() > 1e-6


def test_labels_out_of_range_are_nan_and_unasked_ones_refused():
    network = nets.GatedPixelCNN(1, width=4, depth=2, num_classes=2)
    x = jnp.ones((4, 3, 3, 1))
    variables = filled(network, x, jnp.zeros(4, jnp.int32))
    out = network.apply(variables, x, jnp.array([0, 2, 3, -1]))
    assert np.isfinite(out[:2]).all()
    assert np.isnan(out[2:]).all()
    with pytest.raises(ConfigError, match="num_classes=0"):
        nets.PixelCNN(1, width=4, depth=1).init(jax.random.key(0), x, jnp.zeros(4, jnp.int32))


IMAGE, TOKENS = jnp.zeros((1, 3, 3, 3)), jnp.zeros((1, 3), jnp.int32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nets.GatedPixelCNN(1, units=2).init(jax.random.key(0), IMAGE), "units=2"),
        (lambda: nets.PixelCNN(1, units=3).init(jax.random.key(0), IMAGE), "width=16"),
        (lambda: nets.PixelCNNPlusPlus(1, units=3), "units=3"),
        (lambda: nets.PixelRNN(1, first=1), "first=1"),
        (lambda: nets.PixelRNN(1, first=6), "first=6 must be odd"),
        (lambda: nets.PixelCNN(1, kernel=4), "kernel=4 must be odd"),
        (lambda: nets.GatedPixelCNN(1, kernel=4), "kernel=4 must be odd"),
        (lambda: nets.Transformer(3, 9, width=10, heads=4), "heads=4"),
        (lambda: nets.Transformer(3, 2).init(jax.random.key(0), TOKENS), "context=2"),
    ],
)
def test_bad_sizes(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
