"""Laws of every operator, and what it measures against a dense matrix of numpy."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import inverse
from gen_jax.errors import ConfigError

RNG = np.random.default_rng(0)
MASK = RNG.random((5, 7, 3)) < 0.4

CASES = {
    "inpainting": lambda: inverse.inpainting(MASK),
    "inpainting, one pixel": lambda: inverse.inpainting(np.eye(3, dtype=bool)[:1, :, None]),
    "uncropping": lambda: inverse.uncropping((7, 6, 1), 2),
    "uncropping, no border": lambda: inverse.uncropping((3, 4, 1), 0),
    "super_resolution": lambda: inverse.super_resolution((6, 9, 1), 3),
    "super_resolution, colours": lambda: inverse.super_resolution((4, 6, 3), 2),
    "blur": lambda: inverse.blur((7, 6, 1), inverse.gaussian_kernel(5, 1.0)),
    "blur, even kernel in colours": lambda: inverse.blur((6, 5, 3), RNG.random((2, 4))),
    "blur, box": lambda: inverse.blur((6, 6, 1), np.ones((3, 3)) / 9),
    "dense, wide": lambda: inverse.dense(RNG.normal(size=(3, 5))),
    "dense, tall": lambda: inverse.dense(RNG.normal(size=(5, 3))),
    "dense, rank 1": lambda: inverse.dense(np.outer([1.0, 2.0, 3.0], [1.0, -1.0])),
}
LINEAR = {
    name
    for name, make in inverse.OPERATORS.items()
    if inspect.signature(make).return_annotation is inverse.LinearOperator
}


def of_a_shape(name):
    """A linear operator that takes a shape alone needs no case."""
    try:
        return inverse.OPERATORS[name]((3, 4, 3))
    except TypeError as error:
        raise TypeError(f"{name!r} needs a row in CASES") from error


CASES |= {
    name: partial(of_a_shape, name) for name in LINEAR - {case.partition(",")[0] for case in CASES}
}


def matrix_of(operator):
    """A as a matrix [M, D], column by column."""
    size = int(np.prod(operator.shape))
    columns = operator.apply(jnp.eye(size).reshape(size, *operator.shape))
    return np.asarray(columns, np.float64).reshape(size, -1).T


@pytest.fixture(params=CASES, scope="module")
def operator(request):
    return CASES[request.param]()


def flat(y, operator):
    return np.asarray(y, np.float64).reshape(-1, int(np.prod(operator.measured)))


def test_cases_are_of_the_registry():
    assert {name.partition(",")[0] for name in CASES} == LINEAR < inverse.OPERATORS.keys()


def test_adjoint(operator, key):
    x, y = (
        jax.random.normal(k, (2, *shape))
        for k, shape in zip(jax.random.split(key), (operator.shape, operator.measured))
    )
    left = jnp.sum((operator.apply(x) * y).reshape(2, -1), axis=1)
    right = jnp.sum((x * operator.adjoint(y)).reshape(2, -1), axis=1)
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_pseudo_inverse_is_that_of_the_matrix(operator):
    """numpy's pseudo-inverse satisfies the four conditions of Penrose, and is the only one."""
    matrix = matrix_of(operator)
    count = matrix.shape[0]
    found = operator.pseudo_inverse(jnp.eye(count).reshape(count, *operator.measured))
    found = np.asarray(found, np.float64).reshape(count, -1).T
    expected = np.linalg.pinv(matrix, rcond=5e-4)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("p", "n"), [(1.0, 0.3), (0.2, 1.0), (0.0, 0.5)])
def test_solve(operator, p, n, key):
    y = jax.random.normal(key, (2, *operator.measured))
    matrix = matrix_of(operator)
    expected = np.linalg.solve(p * matrix @ matrix.T + n * np.eye(len(matrix)), flat(y, operator).T)
    np.testing.assert_allclose(flat(operator.solve(y, p, n), operator), expected.T, atol=2e-5)


def test_solve_takes_numbers_for_each_example_and_leaves_out_what_is_singular(operator, key):
    y = jax.random.normal(key, (2, *operator.measured))
    p, n = jnp.array([1.0, 0.5]), jnp.array([0.1, 0.7])
    together = operator.solve(y, p, n)
    alone = jnp.stack([operator.solve(y[i], p[i], n[i]) for i in range(2)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    matrix = matrix_of(operator)
    expected = flat(y, operator) @ np.linalg.pinv(matrix @ matrix.T, rcond=5e-7)
    exact = flat(operator.solve(y, 1.0, 0.0), operator)
    np.testing.assert_allclose(exact, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_under_jit_and_vmap_and_in_float64(name, key, x64):
    operator = CASES[name]()
    x = jax.random.normal(key, (2, 3, *operator.shape), jnp.float64)
    y = operator.apply(x)
    assert y.dtype == jnp.float64
    assert y.shape == (2, 3, *operator.measured)
    np.testing.assert_allclose(jax.jit(jax.vmap(operator.apply))(x), y, atol=1e-12)
    again = operator.apply(operator.pseudo_inverse(y))
    np.testing.assert_allclose(again, y, atol=1e-9)
    left, z = jnp.vdot(y, y), operator.adjoint(y)
    np.testing.assert_allclose(left, jnp.vdot(x, z), rtol=1e-12)


def test_blur_is_scipys_periodic_convolution():
    from scipy import ndimage

    image, kernel = RNG.normal(size=(7, 6, 1)).astype(np.float32), RNG.random((3, 5))
    found = inverse.blur(image.shape, kernel).apply(image)[..., 0]
    expected = ndimage.convolve(image[..., 0], kernel, mode="wrap")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_pseudo_inverse_of_a_matrix_in_other_units(scale):
    """Squares of its singular values leave the range of float32, and counted as 0."""
    matrix = scale * np.array([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0]])
    found = inverse.dense(matrix).pseudo_inverse(jnp.eye(2)).T
    np.testing.assert_allclose(found, np.linalg.pinv(matrix), rtol=1e-5)


def test_an_operator_keeps_its_precision_for_x64():
    made = [inverse.colourisation((2, 2, 3)), inverse.dense(RNG.normal(size=(2, 3)))]
    with jax.enable_x64(True):
        for operator in made:
            y = jnp.asarray(RNG.normal(size=operator.measured))
            np.testing.assert_allclose(operator.apply(operator.pseudo_inverse(y)), y, rtol=1e-12)


def test_an_operator_of_traced_arrays(x64):
    """So one program serves many matrices, as those of the benchmark."""
    matrix = np.array([[2.0, 0.0], [0.0, 0.0]])

    @jax.jit
    def solved(matrix, values, y):
        operator = inverse.linear_operator((2,), lambda x: matrix @ x, values)
        return operator.pseudo_inverse(y), operator.solve(y, 1.0, 0.5)

    found = solved(matrix, np.array([2.0, 0.0]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(found, [[1.5, 0], [3 / 4.5, 2]])


@pytest.mark.parametrize(("size", "std"), [(4, 0.01), (2, 1e-300), (5, 1e-3), (4, 0.7)])
def test_a_kernel_of_any_width_sums_to_one(size, std):
    kernel = inverse.gaussian_kernel(size, std)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])
    if std < 0.1:
        assert kernel.max() == pytest.approx(1 / 4 if size % 2 == 0 else 1)


def test_super_resolution_is_a_mean_of_blocks():
    image = np.arange(12.0, dtype=np.float32).reshape(2, 6, 1)
    found = inverse.super_resolution((2, 6, 1), 2).apply(image)
    np.testing.assert_allclose(found[..., 0], [[3.5, 5.5, 7.5]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: inverse.inpainting(np.zeros((3, 3), bool)), "measures nothing"),
        (lambda: inverse.inpainting(np.ones((3, 3))), "boolean"),
        (lambda: inverse.uncropping((4, 4, 1), 2), "border=2"),
        (lambda: inverse.colourisation((4, 4, 1)), "colours"),
        (lambda: inverse.super_resolution((6, 9, 1), 2), "factor=2 must divide"),
        (lambda: inverse.blur((4, 4, 1), np.ones((5, 5))), "kernel"),
        (lambda: inverse.blur((4, 4, 1), np.zeros((3, 3))), "measures nothing"),
        (lambda: inverse.dense(np.zeros((2, 3))), "measures nothing"),
        (lambda: inverse.dense(np.full((2, 3), np.nan)), "finite"),
        (lambda: inverse.jpeg((8, 8, 2), 50), "must be"),
        (lambda: inverse.jpeg((8, 8, 1), 0), "quality=0"),
        (lambda: inverse.uncropping((6, 6, 1), 1).apply(jnp.zeros((5, 6, 1))), "x must have shape"),
        (lambda: inverse.linear_operator((2,), lambda x: None), "apply returned None"),
        (lambda: inverse.linear_operator((2,), lambda x: x, np.ones(3)), r"values \(3,\) must be"),
        (lambda: inverse.dense(np.full((2, 3), 1e-40)), "measures nothing"),
        (lambda: jax.jit(inverse.dense)(jnp.eye(2)), "matrix is traced"),
        (lambda: jax.jit(inverse.inpainting)(jnp.ones(2, bool)), "mask is traced"),
        (lambda: jax.jit(lambda k: inverse.blur((4, 4, 1), k))(jnp.eye(2)), "kernel is traced"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("shape", [(8,), (), 8, None, "ab", (8.0, 8, 1), (-8, 8, 1), (0, 8, 1)])
def test_shapes_that_are_no_image(shape):
    for make in (
        lambda: inverse.uncropping(shape, 0),
        lambda: inverse.super_resolution(shape, 1),
        lambda: inverse.colourisation(shape),
        lambda: inverse.blur(shape, np.ones((1, 1))),
        lambda: inverse.jpeg(shape, 50),
    ):
        with pytest.raises(ConfigError, match="^shape="):
            make()


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.ones(3), np.ones((2, 1)), jnp.array([0.1, -1])])
def test_factors_of_solve_are_numbers_of_at_least_zero(wrong):
    """A negative denominator counted as 0, and so did NaN."""
    operator, y = inverse.dense(np.eye(2)), jnp.ones((2, 2))
    for name, (p, n) in {"p": (wrong, 1.0), "n": (1.0, wrong)}.items():
        with pytest.raises(ConfigError, match=f"^{name}"):
            operator.solve(y, p, n)
    assert np.isnan(jax.jit(operator.solve)(y, 1.0, np.nan)).all()
