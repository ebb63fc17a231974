"""A convolution that gradient penalties may differentiate twice at full speed.

`Conv` below is Flax's with another rule for its gradients. A convolution y = x * w is linear in x
and in w, so every derivative of any order is made of three maps: the convolution and its transposes
in x and in w. jax derives the same numbers, but the gradient of its transpose in x, which a
gradient penalty needs, ends in a reversed kernel; XLA folds that into a form for which it has but a
slow loop on CPUs: the penalty of a strided layer takes five times as long. The rule below never
reverses. It has no forward mode (`jax.jvp`).
"""

from collections.abc import Callable
from functools import partial

import jax
from flax import linen as nn
from jax import lax

from gen_jax.types import Array, Float


def bilinear(
    product: Callable[[Array, Array], Array], x: Float[Array, "..."], w: Float[Array, "..."]
) -> Float[Array, "..."]:
    """`product(x, w)`, which must be linear in each, with gradients of all orders from three maps:
    itself and its transposes in x and in w."""

    def in_x(w, y):
        return jax.linear_transpose(lambda x: product(x, w), x_like)(y)[0]

    def in_w(x, y):
        return jax.linear_transpose(lambda w: product(x, w), w_like)(y)[0]

    x_like, w_like = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (x, w))
    forward, back_x, back_w = map(jax.custom_vjp, (product, in_x, in_w))
    # <y, product(x, w)> = <in_x(w, y), x> = <in_w(x, y), w>: each rule reads off the other two.
    kept = lambda function: lambda a, b: (function(a, b), (a, b))
    forward.defvjp(kept(product), lambda xw, y: (back_x(xw[1], y), back_w(xw[0], y)))
    back_x.defvjp(kept(in_x), lambda wy, x: (back_w(x, wy[1]), forward(x, wy[0])))
    back_w.defvjp(kept(in_w), lambda xy, w: (back_x(w, xy[1]), forward(xy[0], w)))
    return forward(x, w)


def convolution(x, w, window_strides, padding, **options):
    """`jax.lax.conv_general_dilated` by `bilinear`; same arguments."""
    product = partial(
        lax.conv_general_dilated, window_strides=window_strides, padding=padding, **options
    )
    return bilinear(product, x, w)


Conv = partial(nn.Conv, conv_general_dilated=convolution)
"""Flax's convolution for critics with gradient penalties."""
