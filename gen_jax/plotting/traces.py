"""Markov chains over time."""

import numpy as np
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError, check_range
from gen_jax.plotting.style import COLOURS, styled
from gen_jax.types import Array, Num


@styled
def trace_plot(
    samples: Num[Array | np.ndarray, "..."], chains: int = 4, coordinates: int = 4
) -> Figure:
    """The first few coordinates of the first few chains [T, B, D] against the step, one row each.

    Raises ConfigError unless samples are [T, B, D].
    """
    check_range("chains", chains, 1, integer=True)
    check_range("coordinates", coordinates, 1, integer=True)
    values = np.asarray(samples)
    if values.ndim != 3 or values.size == 0:
        raise ConfigError(f"samples have shape {values.shape}; it must be [T, B, D]")
    values = values[:, :chains, :coordinates]
    rows = values.shape[2]
    figure = Figure((7.0, 1.3 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False).ravel()
    for coordinate, axis in enumerate(axes):
        for chain in range(values.shape[1]):
            colour = COLOURS[chain % len(COLOURS)]
            axis.plot(values[:, chain, coordinate], linewidth=0.7, color=colour)
        axis.set_ylabel(f"$x_{{{coordinate + 1}}}$")
    axes[-1].set_xlabel("step")
    return figure
