"""Distances between distributions and the couplings that go with them."""

from gen_jax.divergences import couplings
from gen_jax.divergences.couplings import COUPLINGS

__all__ = ["COUPLINGS", "couplings"]
