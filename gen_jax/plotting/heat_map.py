"""A table as a picture: methods against targets, losses against penalties."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError
from gen_jax.plotting.style import styled
from gen_jax.types import Float


@styled
def heat_map(
    values: Float[np.ndarray, "R C"],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    *,
    text: Sequence[Sequence[str]] | None = None,
    limits: tuple[float, float] | None = None,
    log_scale: bool = False,
) -> Figure:
    """Coloured cells with a number in each: dark is small; NaN cells stay empty.

    Args:
      label: what the colour shows, with its unit.
      text: of each cell; by default its value to two digits.
      limits: of the colour, values beyond take the end's; by default those of the values.
      log_scale: logarithmic colour; needs positive limits.
    Raises ConfigError where rows, columns or text do not fit the values, or nothing is finite.
    """
    values = np.asarray(values, np.float64)
    if values.shape != (len(rows), len(columns)):
        raise ConfigError(
            f"values have shape {values.shape}, allowed: ({len(rows)}, {len(columns)})"
        )
    if text is not None and [len(line) for line in text] != [len(columns)] * len(rows):
        raise ConfigError(f"text must have {len(rows)} rows of {len(columns)}")
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ConfigError("values hold nothing finite to draw")
    low, high = limits or (finite.min(), finite.max())
    if log_scale and low <= 0:
        raise ConfigError(f"log_scale needs positive limits, not {low:g}")
    norm = (LogNorm if log_scale else Normalize)(low, high, clip=True)
    size = (0.62 * len(columns) + 2.6, 0.32 * len(rows) + 1.2)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, norm=norm, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(False)
    axes.spines[:].set(visible=False)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            shown = f"{value:.2g}" if text is None else text[i][j]
            colour = "black" if norm(value) > 0.6 else "white"
            axes.text(j, i, shown, ha="center", va="center", fontsize=7.5, color=colour)
    figure.colorbar(image, ax=axes, label=label)
    return figure
