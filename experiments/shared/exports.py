"""Samples for other programs: arrays with their labels, or a folder of numbered pictures."""

import csv
from pathlib import Path

import numpy as np

from experiments.shared.registry import Saved
from gen_jax import plotting, training
from gen_jax.errors import ConfigError
from gen_jax.writing import replacing

LABELS = "labels.csv"
SUFFIXES = {
    "images": (".png", ".npz"),
    "points": (".png", ".svg", ".pdf", ".npz"),
    "text": (".txt", ".npz"),
}
"""What a file of samples may end in, by the kind of the data."""


def write_arrays(path: Path, samples: np.ndarray, labels: np.ndarray | None) -> Path:
    """An npz of `arr_0` [N, ...], where tools that compute the FID look, and `labels` int32 [N]."""
    more = {} if labels is None else {"labels": np.asarray(labels, np.int32)}
    with replacing(path) as file:
        np.savez_compressed(file, arr_0=samples, **more)  # type: ignore[arg-type]
    return path


def picture_names(n: int) -> list[str]:
    """000000.png, 000001.png, ...: as many digits as all n need, at least six."""
    width = max(6, len(str(n - 1)))
    return [f"{i:0{width}d}.png" for i in range(n)]


def write_pictures(folder: Path, samples: np.ndarray, labels: np.ndarray | None) -> Path:
    """One PNG for each image [N, H, W, C], and labels.csv (file, label) where there are labels."""
    names = picture_names(len(samples))
    for name, image in zip(names, samples):
        plotting.save_image(folder / name, image)
    if labels is not None:
        rows = [("file", "label"), *zip(names, np.asarray(labels).tolist())]
        with (
            replacing(folder / LABELS) as path,
            open(path, "w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows(rows)
    return folder


def output_of(output: str | None, animated: bool, saved: Saved) -> Path:
    """The file or folder to write; `output`, or drawn.* in the run's samples.

    Raises ConfigError for a name that does not fit the data, and where nothing can be written, so
    that it is known before the time for sampling is spent.
    """
    kind = saved.spec.kind
    allowed = SUFFIXES[kind]
    path = Path(output or saved.directory / "samples" / f"drawn{allowed[0]}")
    if is_folder(output) and kind == "images":
        if animated:
            raise ConfigError(f"animate=True needs a file as output, not {output!r}")
        training.check_writable("output", path / LABELS)
        return path
    if path.suffix not in allowed:
        more = ", or with a / for a folder" if kind == "images" else ""
        raise ConfigError(f"output={str(path)!r} must end in one of: {', '.join(allowed)}{more}")
    if animated:
        training.check_writable("output", path.with_suffix(".gif"))
    return training.check_writable("output", path)


def is_folder(output: str | None) -> bool:
    """Whether pictures of their own are asked for: a path that ends in a / names a folder."""
    return output is not None and output.endswith("/")
