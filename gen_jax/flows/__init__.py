"""Normalizing flows: invertible maps with log-determinants, forward from the base to the data.

A `Layer` has explicit parameters: `layer.bijector(params).forward(x)` gives (y, log_det).
"""

from collections.abc import Callable

from gen_jax.errors import check_choice
from gen_jax.flows import density
from gen_jax.flows.actnorm import actnorm
from gen_jax.flows.autoregressive import (
    INVERSIONS,
    inverse_autoregressive,
    masked_autoregressive,
)
from gen_jax.flows.bijector import Bijector, Guided, Layer, chain, invert, start_from_data
from gen_jax.flows.continuous import solver_bijector, to_base, to_data
from gen_jax.flows.coupling import MASKS, coupling
from gen_jax.flows.dequantization import noise_flow
from gen_jax.flows.elementwise import (
    ELEMENTWISE,
    Elementwise,
    affine,
    free,
    gated,
    linear_rational,
    make_elementwise,
    rational_quadratic,
    scaled,
    shift,
)
from gen_jax.flows.ffjord import ffjord
from gen_jax.flows.glow import glow, realnvp_images
from gen_jax.flows.image_coupling import IMAGE_MASKS, image_coupling
from gen_jax.flows.invertible_linear import MIXINGS, invertible_linear
from gen_jax.flows.manifold import Surface, log_gram, make_surface, manifold_flow
from gen_jax.flows.model import Options, Parts, flow, make_parts, model_from_parts
from gen_jax.flows.multiscale import as_image, factor_out, squeeze
from gen_jax.flows.permutations import interleave, reverse, shuffle
from gen_jax.flows.planar import planar, planar_bijector
from gen_jax.flows.radial import radial, radial_bijector
from gen_jax.flows.spline_flow import spline_flow
from gen_jax.flows.stacks import FLOWS, make_flow
from gen_jax.flows.tarflow import TOKEN_INVERSIONS, causal_affine, denoise, tarflow
from gen_jax.flows.trained import bijector, surface
from gen_jax.registries import described

BIJECTORS: dict[str, Callable[[], Layer]] = {
    "affine": described("Shift and scale of each coordinate.", lambda: free(affine())),
    "rational_quadratic": described(
        "A monotone spline of each coordinate (durkan2019).", lambda: free(rational_quadratic())
    ),
    "linear_rational": described(
        "A monotone spline of each coordinate (dolatabadi2020).", lambda: free(linear_rational())
    ),
    "additive_coupling": described(
        "NICE: half of the coordinates shift the others (dinh2015).", lambda: coupling(shift())
    ),
    "affine_coupling": described(
        "RealNVP: half of the coordinates shift and scale the others.",
        lambda: coupling(affine(), mask="even"),
    ),
    "gated_coupling": described(
        "Glow: a gate that grows no coordinate by more than 14 % (kingma2018).",
        lambda: coupling(gated(), mask="odd"),
    ),
    "rational_quadratic_coupling": described(
        "Neural spline coupling (durkan2019).",
        lambda: coupling(rational_quadratic(8), mask="second_half"),
    ),
    "linear_rational_coupling": described(
        "Spline coupling with linear fractions (dolatabadi2020).",
        lambda: coupling(linear_rational(8), mask="odd"),
    ),
    "masked_autoregressive": described(
        "MAF: density in one call (papamakarios2017).", lambda: masked_autoregressive(affine())
    ),
    "inverse_autoregressive": described(
        "IAF: samples in one call (kingma2016).", lambda: inverse_autoregressive(affine())
    ),
    "rational_quadratic_autoregressive": described(
        "Neural spline flow, autoregressive (durkan2019).",
        lambda: masked_autoregressive(rational_quadratic(8)),
    ),
    "linear_rational_autoregressive": described(
        "The splines of TemperFlow, each with an affine map.",
        lambda: masked_autoregressive(scaled(linear_rational(8))),
    ),
    "block_autoregressive": described(
        "Autoregressive over blocks of coordinates, for many of them.",
        lambda: masked_autoregressive(linear_rational(8), block=2),
    ),
    "jacobi_autoregressive": described(
        "MAF whose sampling iterates all coordinates at once.",
        lambda: masked_autoregressive(affine(), inversion="jacobi"),
    ),
    "planar": planar,
    "inverse_planar": described(
        "The same with the density in closed form.", lambda: invert(planar())
    ),
    "radial": radial,
    "actnorm": actnorm,
    "invertible_linear": invertible_linear,
    "invertible_linear_lu": described(
        "The same as permutation, lower and upper triangle.", lambda: invertible_linear("lu")
    ),
    "reverse": reverse,
    "interleave": interleave,
    "shuffle": shuffle,
}
"""Every kind of layer of points by name, at small sizes."""

IMAGE_BIJECTORS: dict[str, Callable[[], Layer]] = {
    "checkerboard_coupling": described(
        "RealNVP: every second pixel moves the others (dinh2017).",
        lambda: image_coupling(affine(), "even_pixels", 4, 0),
    ),
    "channel_coupling": described(
        "Half of the channels move the others by splines.",
        lambda: image_coupling(rational_quadratic(4), width=4),
    ),
    "half_image_coupling": described(
        "NICE: the upper half shifts the lower one (dinh2015).",
        lambda: image_coupling(shift(), "top", 4, 0),
    ),
    "image_actnorm": actnorm,
    "invertible_convolution": invertible_linear,
    "invertible_convolution_lu": described(
        "The same as permutation, lower and upper triangle.", lambda: invertible_linear("lu")
    ),
    "squeeze": squeeze,
    "as_image": described("Vectors as images, for flows of points.", lambda: as_image((4, 4, 2))),
    "factor_out": described(
        "Half of the channels leave for the base early (dinh2017).",
        lambda: factor_out(image_coupling(affine(), "odd_pixels", 4, 0)),
    ),
    "causal_affine": described(
        "TarFlow's layer: a causal transformer moves each patch (zhai2025).",
        lambda: causal_affine(8, 1, 2),
    ),
    "jacobi_causal_affine": described(
        "The same, sampled by iterating all patches at once.",
        lambda: causal_affine(8, 1, 2, inversion="jacobi"),
    ),
    "glow": described(
        "All of them in two levels (kingma2018).", lambda: glow(2, 1, width=4, network_depth=0)
    ),
    "realnvp_images": described(
        "Checkerboards, squeezes and channels in two levels (dinh2017).",
        lambda: realnvp_images(2, width=4, network_depth=0),
    ),
}
"""Every kind of layer of images by name, at small sizes."""


def make_bijector(name: str) -> Layer:
    """A layer of BIJECTORS or IMAGE_BIJECTORS. Raises ConfigError for unknown names."""
    both = BIJECTORS | IMAGE_BIJECTORS
    return both[check_choice("bijector", name, both)]()


__all__ = [
    "BIJECTORS",
    "ELEMENTWISE",
    "FLOWS",
    "IMAGE_BIJECTORS",
    "IMAGE_MASKS",
    "INVERSIONS",
    "MASKS",
    "MIXINGS",
    "TOKEN_INVERSIONS",
    "Bijector",
    "Elementwise",
    "Guided",
    "Layer",
    "Options",
    "Parts",
    "Surface",
    "actnorm",
    "affine",
    "as_image",
    "bijector",
    "causal_affine",
    "chain",
    "coupling",
    "denoise",
    "density",
    "factor_out",
    "ffjord",
    "flow",
    "free",
    "gated",
    "glow",
    "image_coupling",
    "interleave",
    "inverse_autoregressive",
    "invert",
    "invertible_linear",
    "linear_rational",
    "log_gram",
    "make_bijector",
    "make_elementwise",
    "make_flow",
    "make_parts",
    "make_surface",
    "manifold_flow",
    "masked_autoregressive",
    "model_from_parts",
    "noise_flow",
    "planar",
    "planar_bijector",
    "radial",
    "radial_bijector",
    "rational_quadratic",
    "realnvp_images",
    "reverse",
    "scaled",
    "shift",
    "shuffle",
    "solver_bijector",
    "spline_flow",
    "squeeze",
    "start_from_data",
    "surface",
    "tarflow",
    "to_base",
    "to_data",
]
