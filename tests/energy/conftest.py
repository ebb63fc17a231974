"""Samplers run outside jit leave one compiled loop each behind: forget them with their module."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_loops():
    """Frees the memory (1 GB and more in some modules) that jax's caches hold."""
    yield
    jax.clear_caches()
