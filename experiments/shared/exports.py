"""Samples for other programs: arrays with their labels, or a folder of numbered pictures."""

import csv
from pathlib import Path

import numpy as np

from gen_jax import plotting

LABELS = "labels.csv"


def write_arrays(path: Path, samples: np.ndarray, labels: np.ndarray | None) -> Path:
    """An npz of `arr_0` [N, ...], where tools that compute the FID look, and `labels` int32 [N]."""
    with open(path, "wb") as file:
        if labels is None:
            np.savez_compressed(file, arr_0=samples)
        else:
            np.savez_compressed(file, arr_0=samples, labels=np.asarray(labels, np.int32))
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
        with open(folder / LABELS, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("file", "label"), *zip(names, np.asarray(labels).tolist())]
            )
    return folder
