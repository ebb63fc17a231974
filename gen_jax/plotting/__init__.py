"""Pictures: image grids, points and densities in the plane, trajectories, curves, animations.

Functions return an array or a `matplotlib.figure.Figure` that `save_image` or `save` writes;
animations write their GIF. There is no pyplot state and no display is needed. Only this sub-package
imports matplotlib.
"""

from gen_jax.plotting.animations import image_animation, point_animation
from gen_jax.plotting.curves import (
    precision_recall_curves,
    quality_versus_calls,
    read_metrics,
    training_curves,
)
from gen_jax.plotting.densities import density_curve, density_map, point_panels
from gen_jax.plotting.grids import image_grid, label_rows, save_image, to_image
from gen_jax.plotting.heat_map import heat_map
from gen_jax.plotting.labelled import labelled_points
from gen_jax.plotting.line_animation import line_animation
from gen_jax.plotting.style import COLOURS, STYLE, save, window_around
from gen_jax.plotting.traces import trace_plot
from gen_jax.plotting.trajectories import field_panels, trajectory_plot

__all__ = [
    "COLOURS",
    "STYLE",
    "density_curve",
    "density_map",
    "field_panels",
    "heat_map",
    "image_animation",
    "image_grid",
    "label_rows",
    "labelled_points",
    "line_animation",
    "point_animation",
    "point_panels",
    "precision_recall_curves",
    "quality_versus_calls",
    "read_metrics",
    "save",
    "save_image",
    "to_image",
    "trace_plot",
    "training_curves",
    "trajectory_plot",
    "window_around",
]
