"""Points of the plane coloured by their label."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError
from gen_jax.plotting.style import as_plane, bare, panels, styled, window_around
from gen_jax.types import Array, Int, Num


@styled
def labelled_points(
    points: Num[Array | np.ndarray, "..."], labels: Int[Array | np.ndarray, "N"], title: str = ""
) -> Figure:
    """Points [N, 2] with one colour, and one entry of the legend, per label [N].

    Raises ConfigError when there are not as many labels as points.
    """
    points, labels = as_plane("points", points), np.asarray(labels)
    if len(labels) != len(points):
        raise ConfigError(f"labels has {len(labels)} entries for {len(points)} points")
    figure, (axes,) = panels(1, size=4.2)
    colours = mpl.colormaps["tab10" if len(np.unique(labels)) <= 10 else "tab20"]
    for index, label in enumerate(np.unique(labels)):
        own = points[labels == label]
        colour = colours(index % colours.N)
        axes.scatter(own[:, 0], own[:, 1], s=6, color=colour, linewidths=0, label=str(label))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2, frameon=False)
    bare(axes, window_around(points))
    axes.set_title(title)
    return figure
