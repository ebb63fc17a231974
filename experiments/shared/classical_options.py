"""What the classical models share: the units of their data."""

from gen_jax import data
from gen_jax.data import DatasetSpec


def transform_of(spec: DatasetSpec) -> data.Transform:
    """Data units to those of the model: points of unit size, dequantised pixels in [0, 1]."""
    return data.dequantize() if spec.kind == "images" else data.standardize(spec.mean, spec.std)
