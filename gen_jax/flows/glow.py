"""Glow and the multi-scale RealNVP: flows of images from couplings, mixing and squeezing."""

from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.flows.actnorm import actnorm
from gen_jax.flows.bijector import Layer, chain
from gen_jax.flows.elementwise import ELEMENTWISE, Elementwise, affine
from gen_jax.flows.image_coupling import image_coupling
from gen_jax.flows.invertible_linear import MIXINGS, invertible_linear
from gen_jax.flows.multiscale import factor_out, image_shape, squeeze


def glow(
    levels: int = 2,
    depth: int = 4,
    *,
    width: int = 32,
    network_depth: int = 1,
    coupling: str = "gated",
    mixing: str = "plain",
) -> Layer:
    """Glow (kingma2018): at each level squeeze, then `depth` steps of actnorm, 1x1 convolution and
    coupling; between levels half of the channels leave, with a prior conditioned on the others.

    Args:
      width, network_depth: of the couplings' networks.
      coupling: a name in ELEMENTWISE: "gated", as in the authors' code; "affine", with which
        training blew up on MNIST; "shift", or a spline of 8 bins.
      mixing: "plain" or "lu".
    Image sides must be multiples of 2^levels. Actnorms want `start_from_data`. Raises ConfigError.
    """
    check_range("levels", levels, 1, integer=True)
    check_range("depth", depth, 1, integer=True)
    check_choice("mixing", mixing, MIXINGS)
    function = small_function(coupling)

    def move(function: Elementwise) -> Layer:
        return image_coupling(function, "first_channels", width, network_depth)

    step = (move(function), invertible_linear(mixing), actnorm())
    prior = move(affine())
    return scales(levels, step * depth, prior)


def realnvp_images(
    levels: int = 2, *, width: int = 32, network_depth: int = 2, coupling: str = "gated"
) -> Layer:
    """The multi-scale RealNVP (dinh2017): at each level three checkerboards, squeeze, three
    couplings of channels; then half of the channels leave. Actnorm stands for batch norm.

    Arguments are those of `glow`. Image sides must be multiples of 2^levels, not both 2^levels: the
    last checkerboards need two pixels. Raises ConfigError, for such shapes in `init` and
    `base_shape`.
    """
    check_range("levels", levels, 1, integer=True)
    function = small_function(coupling)
    names = ("even_pixels", "odd_pixels", "even_pixels")
    boards, channels = (
        tuple(
            part
            for mask in masks
            for part in (image_coupling(function, mask, width, network_depth), actnorm())
        )
        for masks in (names, ("first_channels", "last_channels", "first_channels"))
    )
    layer = chain(*boards)
    for level in range(levels):
        inner = factor_out(layer) if level else layer
        layer = chain(inner, *channels, squeeze(), *boards)
    whole = layer

    def base_shape(shape):
        h, w, _ = image_shape(shape)
        if h == w == 2**levels:
            raise ConfigError(
                f"levels={levels} leaves one pixel of images of shape {shape}; RealNVP's "
                "checkerboards need two (allowed: fewer levels, or architecture 'glow')"
            )
        return whole.base_shape(shape)

    def init(key, shape, extra=0):
        base_shape(shape)
        return whole.init(key, shape, extra)

    return whole._replace(init=init, base_shape=base_shape)


def scales(levels: int, steps: tuple[Layer, ...], prior: Layer) -> Layer:
    """`steps` at every level; half of the channels leave between two, moved by `prior`."""
    layer = chain(*steps, squeeze())
    for _ in range(levels - 1):
        layer = chain(factor_out(layer), prior, *steps, squeeze())
    return layer


def small_function(name: str) -> Elementwise:
    """A map of ELEMENTWISE by name, with 8 bins where it is a spline. Raises ConfigError."""
    make = ELEMENTWISE[check_choice("coupling", name, ELEMENTWISE)]
    return make(8) if name in ("rational_quadratic", "linear_rational") else make()
