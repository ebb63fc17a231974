"""Spectral normalisation: a layer divided by the largest singular value of its matrix
(miyato2018)."""

from collections.abc import Callable

from flax import linen as nn

from gen_jax.types import Array


def normalised(layer: nn.Module, spectral: bool = True) -> Callable[[Array, bool], Array]:
    """`(x, train) -> layer(x)`, with spectral norm 1 if `spectral`; call inside a compact method.

    A kernel is the matrix [all inputs, outputs]; biases stay. One power iteration per call starts
    at the vector in the collection "spectral", which moves on when `train` is set. No gradient
    passes through the vector, but through the matrix it does.
    """
    if not spectral:
        return lambda x, train: layer(x)
    wrapped = nn.SpectralNorm(layer, collection_name="spectral")
    return lambda x, train: wrapped(x, update_stats=train)
