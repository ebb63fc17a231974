"""Pictures of a VAE's latent space: reconstructions, interpolations, traversals, the manifold."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import data, plotting, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import DataError
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, Int, State
from gen_jax.vae.gaussians import kl_terms

ROWS = 8
MOST = 20
"""Latents whose KL is shown, the largest ones."""


def grey(likelihood: vae.Likelihood, raw: Array) -> np.ndarray:
    """E[x | z] as uint8 images, also of binary ones, by what the encoder would see of it."""
    seen = likelihood.network_input(likelihood.mean(raw))
    return np.asarray(jnp.clip(jnp.round((seen + 1) * 127.5), 0, 255), np.uint8)


def use_of_latents(posterior: vae.Posterior, z: Array, prior: vae.Prior) -> dict[str, Any]:
    """What shows collapse (units, KL), the information of z on x, and holes of the prior."""
    key, n = jax.random.key(0), len(z)
    count, _ = vae.active_units(z)
    shared = vae.information(key, posterior, prior, n)
    holes = vae.hole_score(key, posterior, prior, n)
    found: dict[str, Any] = {"active": count, "holes": holes, "shared": shared}
    if posterior.moments is not None and prior.moments is not None:
        found["costs"] = kl_terms(*posterior.moments, *prior.moments).mean(0)
    return found


def line_of_latents(found: Mapping[str, Any], n: int, dims: int) -> str:
    """What `use_of_latents` found of n examples."""
    line = f"latents: {int(found['active'])} of {dims} active"
    if "costs" in found:
        costs = np.asarray(found["costs"])
        line += ", KL " + " ".join(f"{cost:.2f}" for cost in np.sort(costs)[::-1][:MOST])
        line += " ..." if len(costs) > MOST else ""
    shared = found["shared"]
    return (
        f"{line}; mutual information {float(shared.mutual_information):.2f} of at most "
        f"{np.log(n):.2f} nats, KL(q(z) || p(z)) {float(shared.gap):.2f}; hole score "
        f"{float(found['holes']):.3f} (0.01 without holes)"
    )


def latent_pictures(
    config: Any, directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Writes what the latents show, in `samples/` of a run, and returns one of the pictures.

    Of images: test images beside their reconstructions, interpolations between pairs, traversals of
    the first dimensions; with two latents also the manifold and the encoded test set by label.
    """
    folder = directory / "samples"
    # q(z) takes as many densities of posteriors as the square of this; an IAF's are slow.
    count = 500 if config.posterior == "iaf" else 2000
    try:
        test = data.examples(spec.name, "test", count)
    except DataError:
        test = data.examples(spec.name, "train", count)
    label = jnp.asarray(test["y"]) if config.conditional else None
    functions_of = lambda label: vae.functions(model, state, label=label)

    @jax.jit  # its parts one by one are hundreds of programs
    def encoded(state, u, label):
        functions = vae.functions(model, state, label=label)
        posterior = functions.posterior(u)
        z = vae.posterior_mean(posterior, jax.random.split(jax.random.key(1), len(u)))
        return z, use_of_latents(posterior, z, functions.prior_of(z.shape[1]))

    z, found = encoded(state, vae.values(model, state, test["x"]), label)
    print(line_of_latents(found, *z.shape))
    if z.shape[1] == 2:
        figure = _encoded(np.asarray(z), test.get("y"))
        path = plotting.save(figure, folder / "encoded.png")
    if spec.kind != "images":
        means = vae.decode(model, state, z, label=label)
        return path if z.shape[1] == 2 else _reconstructed_points(folder, test["x"], means)
    images = lambda z, rows=None: _decoded(functions_of, z, label, rows)
    pairs = np.stack([np.asarray(test["x"][:ROWS]), images(z[:ROWS])], 1)
    path = _grid(folder / "reconstructions.png", pairs.reshape(-1, *spec.shape), 2)
    lines = vae.interpolate(z[:ROWS], z[ROWS : 2 * ROWS])
    rows = np.repeat(np.arange(len(lines)), lines.shape[1])
    _grid(folder / "interpolations.png", images(lines.reshape(-1, z.shape[1]), rows), 9)
    moved = vae.traversal(z[0])[:10].reshape(-1, z.shape[1])
    _grid(folder / "traversals.png", images(moved, np.zeros(len(moved), int)), 9)
    if z.shape[1] == 2:
        grid = vae.manifold(20)
        path = _grid(folder / "manifold.png", images(grid, np.zeros(len(grid), int)), 20, 0)
    return path


def _decoded(
    functions_of: Callable[[Array | None], vae.VAEFunctions],
    z: Array,
    label: Array | None,
    rows: Int[np.ndarray, "N"] | None,
) -> np.ndarray:
    """Decoded means, with the labels of the examples `rows`, the first ones if not given."""
    rows = np.arange(len(z)) if rows is None else rows
    functions = functions_of(None if label is None else label[rows])
    return grey(functions.likelihood, functions.decode(z))


def _grid(path: Path, images: np.ndarray, columns: int, padding: int = 1) -> Path:
    grid = plotting.image_grid(images, columns=columns, padding=padding)
    return plotting.save_image(path, grid)


def _encoded(z: np.ndarray, label: np.ndarray | None):
    if label is None:
        return plotting.point_panels({"encoded test set": z})
    return plotting.labelled_points(z, label, "posterior means of the test set")


def _reconstructed_points(folder: Path, x: np.ndarray, means: Array):
    panels = plotting.point_panels({"data": x, "reconstructions": np.asarray(means)})
    return plotting.save(panels, folder / "reconstructions.png")
