"""The critics' convolution: jax's own gradients of the first and second order, without its loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gen_jax.gan_nets.convolution import convolution

NUMBERS = ("NHWC", "HWIO", "NHWC")
CASES = {
    "strides": ((2, 2), "SAME", {}),
    "none": ((1, 1), "VALID", {}),
    "uneven": ((2, 1), ((1, 2), (0, 1)), {}),
    "dilated": ((1, 1), "SAME", {"rhs_dilation": (2, 2)}),
    "transposed": ((1, 1), ((2, 2), (2, 2)), {"lhs_dilation": (2, 2)}),
    "groups": ((1, 1), "SAME", {"feature_group_count": 2}),
}


def penalty(conv, strides, padding, options):
    """The squared slope in x of a function of the convolution: a gradient penalty."""
    apply = lambda x, w: conv(x, w, strides, padding, dimension_numbers=NUMBERS, **options)
    slope = jax.grad(lambda x, w: jnp.tanh(apply(x, w)).sum())
    return lambda x, w: (slope(x, w) ** 2).sum()


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_jax(key, case, x64):
    key_x, key_w = jax.random.split(key)
    x = jax.random.normal(key_x, (2, 6, 7, 4), jnp.float64)
    inputs = 4 // CASES[case][2].get("feature_group_count", 1)
    w = jax.random.normal(key_w, (3, 4, inputs, 6), jnp.float64)
    ours, theirs = (penalty(f, *CASES[case]) for f in (convolution, lax.conv_general_dilated))
    for order in (lambda f: f, lambda f: jax.grad(f, (0, 1)), jax.grad):
        for ours_now, theirs_now in zip(
            jax.tree.leaves(order(ours)(x, w)), jax.tree.leaves(order(theirs)(x, w)), strict=True
        ):
            np.testing.assert_allclose(ours_now, theirs_now, rtol=1e-10, atol=1e-10)
    third = lambda f: jax.grad(lambda w: (jax.grad(f)(x, w) ** 2).sum())(w)
    np.testing.assert_allclose(third(ours), third(theirs), rtol=1e-9, atol=1e-9)


def test_works_for_many_critics_at_once(key):
    w = jax.random.normal(key, (3, 4, 4, 1, 2))
    f = penalty(convolution, *CASES["strides"])
    x = jax.random.normal(key, (2, 6, 6, 1))
    many = jax.vmap(jax.grad(f, 1), (None, 0))(x, w)
    np.testing.assert_allclose(many[1], jax.grad(f, 1)(x, w[1]), rtol=1e-4, atol=1e-5)


def test_no_reversed_window_is_left(key):
    """XLA's slow form, which jax's own rule leads to."""
    x, w = jnp.zeros((2, 8, 8, 3)), jnp.zeros((4, 4, 3, 5))
    text = [
        jax.jit(jax.grad(penalty(f, *CASES["strides"]), 1)).lower(x, w).compile().as_text()
        for f in (convolution, lax.conv_general_dilated)
    ]
    assert "rhs_reversal" not in text[0]
    if "rhs_reversal" not in text[1]:
        pytest.skip("this XLA has no such form: gen_jax.gan_nets.convolution has lost its reason")
