"""Laws of every bijector: inverse, log-determinant by autodiff, one density, jit, vmap, float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled

from gen_jax import flows
from gen_jax.errors import ConfigError
from gen_jax.flows import BIJECTORS, IMAGE_BIJECTORS, Layer, chain, density, invert, make_bijector

DIM, N, IMAGE = 4, 16, (4, 4, 2)
ALL = [*BIJECTORS, *IMAGE_BIJECTORS]
MIXERS = ("reverse", "interleave", "shuffle", "invertible_linear", "invertible_linear_lu")
TRIANGULAR = [name for name in BIJECTORS if name.endswith("autoregressive")]

ON_A_LINE = [
    name
    for name in BIJECTORS
    if name not in MIXERS[:3] and not name.endswith(("coupling", "autoregressive"))
]
TWO_NUMBERS = {
    "checkerboard_coupling": (1, 2, 1),
    "channel_coupling": (1, 1, 2),
    "half_image_coupling": (2, 1, 1),
    "image_actnorm": (1, 2, 1),
    "invertible_convolution": (1, 1, 2),
    "invertible_convolution_lu": (1, 1, 2),
    "causal_affine": (1, 2, 1),
    "jacobi_causal_affine": (1, 2, 1),
}
"""Images of two numbers that a layer can bend; squeezing and halving need more."""
FREE_SPLINES = ("rational_quadratic", "linear_rational")
IN_THE_PLANE = [name for name in (*BIJECTORS, *TWO_NUMBERS) if name not in FREE_SPLINES]
"""Free splines have their kinks resolved on the line alone."""


def both(name, dtype, near=0.0):
    """(layer, params, points of the base): some lie outside every spline's box.

    With `near` > 0 the parameters are those of the start, and that much of what else they were.
    """
    layer, shape = make_bijector(name), IMAGE if name in IMAGE_BIJECTORS else DIM
    shape = SHAPES.get(name, shape)
    base = layer.base_shape(shape)
    n, base = N if shape == DIM else 2, (base,) if isinstance(base, int) else base
    x = 2.5 * jax.random.normal(jax.random.key(5), (n, *base), dtype)
    params = filled(layer, shape, size=SIZES.get(name, 1.0), dtype=dtype)
    if near:
        start = jax.jit(lambda key: layer.init(key, shape))(jax.random.key(1))
        params = jax.tree.map(lambda begun, p: begun + near * p, start, params)
    return layer, params, x


SHAPES = {"realnvp_images": (8, 4, 1)}
"""Where another shape is needed: two levels leave 2 x 1 pixels."""

SIZES = {"glow": 0.3, "realnvp_images": 0.3}
"""How far from the identity; a whole flow multiplies its slopes."""


def made_by(function):
    """Whether this is a function that returns a layer."""
    return getattr(function, "__annotations__", {}).get("return") is Layer


def there_and_back(layer):
    """`(params, x)` -> the images and the log-determinants of both directions."""

    @jax.jit
    def run(params, x):
        bijector = layer.bijector(params)
        y, log_det = bijector.forward(x)
        back, back_log_det = bijector.inverse(y)
        return y, log_det, back, back_log_det

    return run


def test_every_layer_is_registered_and_unknown_ones_are_named():
    rows = "".join(ALL)
    layers = {name for name, f in vars(flows).items() if made_by(f) and name in flows.__all__}
    assert layers >= {"planar", "radial", "coupling", "squeeze", "free", "glow"}
    whole = {"chain", "free", "invert", "spline_flow", "make_bijector", "make_flow"}
    whole |= {"image_coupling", "noise_flow", "tarflow"}
    assert {name for name in layers - whole if name not in rows} == set()
    with pytest.raises(ConfigError, match="affine_couplin"):
        make_bijector("affine_couplin")


@pytest.mark.parametrize("name", ALL)
def test_inverse_and_log_determinant_in_float64(x64, name):
    layer, params, x = both(name, jnp.float64)
    y, log_det, back, back_log_det = there_and_back(layer)(params, x)
    assert y.size == x.size
    assert log_det.shape == x.shape[:1]
    assert y.dtype == log_det.dtype == jnp.float64
    np.testing.assert_allclose(back, x, atol=1e-10)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-9)
    one = lambda x: layer.bijector(params).forward(x.reshape(1, *shape))[0].ravel()
    shape = x.shape[1:]
    # Jacobi's loop has forward-mode derivatives only.
    jacobians = jax.jit(jax.vmap(jax.jacfwd(one)))(x.reshape(len(x), -1))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], atol=1e-9)
    if log_det.any():
        assert np.abs(log_det).max() > 0.1


@pytest.mark.parametrize("name", ALL)
def test_inverse_in_float32_under_jit_and_vmap(name, count_traces):
    # 32 slopes multiply: images stay where float32 can say something.
    layer, params, x = both(name, jnp.float32, near=0.1 if name in IMAGE_BIJECTORS else 0.0)
    counted = count_traces(there_and_back(layer))
    run = jax.jit(counted)
    y, log_det, back, _ = run(params, x)
    run(params, x + 1)
    assert counted.calls == 1
    # A slope of e^s magnifies rounding by as much, and sums round by the size of their terms.
    steep, size = np.exp(np.abs(log_det)).max(), max(np.abs(x).max(), np.abs(y).max())
    np.testing.assert_allclose(back, x, atol=1e-5 * max(1, steep / 10, size / 4))
    each = jax.jit(jax.vmap(lambda x: layer.bijector(params).forward(x[None])))(x)
    np.testing.assert_allclose(each[0][:, 0], y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(each[1][:, 0], log_det, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TRIANGULAR)
def test_jacobians_are_triangular_and_the_network_sees_no_later_coordinate(x64, name):
    layer, params, x = both(name, jnp.float64)
    bijector = layer.bijector(params)
    one = lambda x: bijector.forward(x[None])[0][0]
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacfwd(one)))(x))
    above = np.triu(np.ones((DIM, DIM), bool), 1)
    assert np.all(jacobians[:, above] == 0)
    below = np.abs(jacobians).max(0)[above.T]
    within = [2, 3] if name.startswith("block") else []  # pairs (1, 0) and (3, 2) share a block
    assert np.all(np.delete(below, [0, 5] if within else []) > 0)
    if within:
        assert np.all(below[[0, 5]] == 0)


@pytest.mark.parametrize("name", BIJECTORS)
def test_layers_begin_at_the_identity(key, name):
    layer = make_bijector(name)
    x = jax.random.normal(key, (5, DIM))
    y, log_det = layer.bijector(layer.init(key, DIM)).forward(x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-5)
    if name not in MIXERS:
        np.testing.assert_allclose(y, x, atol=2e-6)


def integral(layer, shape, size, n):
    """Of the density, by the sum over n^D points to 8 standard deviations around its mean.

    On the line they reach at least as far as the images of -6 and 6: tails may be heavy.
    """
    dim = shape if isinstance(shape, int) else math.prod(shape)
    event = (dim,) if isinstance(shape, int) else shape
    params = filled(layer, shape, size=size, dtype=jnp.float64)

    @jax.jit
    def run(z):
        bijector = layer.bijector(params)
        drawn = bijector.forward(z)[0].reshape(-1, dim)
        reach = 8.0
        if dim == 1:
            far = bijector.forward(jnp.array([[-6.0], [6.0]]))[0] - drawn.mean()
            reach = jnp.maximum(reach, jnp.abs(far).max() / drawn.std())
        line = jnp.linspace(-reach, reach, n)
        points = jnp.stack(jnp.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
        points = drawn.mean(0) + drawn.std(0) * points
        log_q = density.log_density(bijector, points.reshape(-1, *event))
        return jnp.exp(log_q).sum() * jnp.prod(drawn.std(0) * (line[1] - line[0]))

    return float(run(jax.random.normal(jax.random.key(6), (500, *event), jnp.float64)))


@pytest.mark.parametrize("name", ON_A_LINE)
def test_density_integrates_to_one_on_the_line(x64, name):
    assert integral(make_bijector(name), 1, 0.5, 20_001) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_density_integrates_to_one_in_the_plane(x64, name):
    shape = TWO_NUMBERS.get(name, 2)
    assert integral(make_bijector(name), shape, 0.4, 361) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", ["rational_quadratic_coupling", "linear_rational_autoregressive"])
def test_density_of_two_layers_integrates_to_one_in_the_plane(x64, name):
    layer = chain(make_bijector(name), flows.reverse(), make_bijector(name))
    assert integral(layer, 2, 0.4, 361) == pytest.approx(1, abs=2e-3)


def test_chain_and_invert_compose_and_invert(x64):
    layers = [make_bijector(n) for n in ("affine_coupling", "shuffle", "masked_autoregressive")]
    whole = chain(*layers)
    params = filled(whole, DIM, dtype=jnp.float64)
    x = jax.random.normal(jax.random.key(1), (N, DIM), jnp.float64)
    y, total = x, 0.0
    for layer, p in zip(layers, params):
        y, log_det = layer.bijector(p).forward(y)
        total += log_det
    got = whole.bijector(params).forward(x)
    np.testing.assert_allclose(got[0], y)
    np.testing.assert_allclose(got[1], total)
    turned = invert(whole).bijector(params)
    np.testing.assert_allclose(turned.forward(y)[0], x, atol=1e-10)
    np.testing.assert_allclose(turned.inverse(x)[1], total)
    with pytest.raises(ConfigError, match="layers"):
        chain()


STAY = {
    ("first_half", 5): [0, 1],
    ("second_half", 5): [2, 3, 4],
    ("even", 5): [0, 2, 4],
    ("odd", 4): [1, 3],
    ("odd", 5): [1, 3],
}


@pytest.mark.parametrize(("mask", "dim"), STAY)
def test_a_coupling_moves_what_its_mask_does_not_keep(mask, dim):
    layer, x = flows.coupling(flows.shift(), mask, (4,)), jnp.arange(2.0 * dim).reshape(2, dim)
    params = filled(layer, dim)
    moved = (layer.bijector(params).forward(x)[0] != x).all(0)
    assert np.flatnonzero(~moved).tolist() == STAY[mask, dim]


def test_jacobi_finds_what_the_sequential_pass_finds(x64):
    dim = 6
    pair = [
        flows.masked_autoregressive(flows.linear_rational(8), inversion=inversion)
        for inversion in flows.INVERSIONS
    ]
    params = filled(pair[0], dim, dtype=jnp.float64)
    z = jax.random.normal(jax.random.key(2), (N, dim), jnp.float64)
    one, other = (layer.bijector(params).forward(z) for layer in pair)
    np.testing.assert_allclose(one[0], other[0], atol=1e-12)
    np.testing.assert_allclose(one[1], other[1], atol=1e-11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flows.coupling(flows.affine(), mask="half"), "mask='half'"),
        (lambda: flows.masked_autoregressive(flows.affine(), inversion="newton"), "inversion"),
        (lambda: flows.linear_rational(bins=1), "bins=1"),
        (lambda: flows.rational_quadratic(half_width=0.0), "half_width"),
        (lambda: flows.affine(0.0), "bound"),
        (lambda: flows.make_elementwise("cubic"), "cubic"),
        (lambda: flows.interleave(1), "groups"),
        (lambda: flows.coupling(flows.affine()).init(jax.random.key(0), 1), "dim=1"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
