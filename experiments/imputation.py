"""Fill in hidden pixels of test images by a trained VAE, beside the mean image.

    python -m experiments.vae --directory runs/vae-digits
    python -m experiments.imputation runs/vae-digits
    python -m experiments.imputation runs/vae-digits --hide pixels

Writes `imputation.json` and a picture in the run directory: test images, what is hidden, filled in
by a chain, by the mean of all chains, and by the mean of the training images.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.shared.command_line import read_options
from experiments.shared.hidden_pixels import error_of, filled_in, seen_pixels
from experiments.shared.option_types import MAX_SAMPLES, Count, SavedStep, Seed, within
from experiments.shared.pictures import image_rows
from experiments.shared.provenance import compare, in_report
from experiments.shared.runner import rebuild
from gen_jax import data, plotting, training
from gen_jax.errors import ConfigError, check_choice
from gen_jax.ranges import check_ranges

HIDE = ("lower", "pixels")
SHOWN = 16
ROWS = {"one_chain": "one chain", "vae": "mean of chains", "mean_image": "mean image"}
"""Rows of the picture below the hidden images."""


@dataclass(frozen=True)
class Config:
    """Which run, and what is hidden."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run of experiments.vae on images."""
    hide: str = "lower"
    """lower: the lower half; pixels: every second one, at random"""
    num: Annotated[int, *within(2, MAX_SAMPLES)] = 500
    """Test images, at most."""
    chains: Count = 10
    """Of each image; their average is compared."""
    rounds: Count = 30
    """Of each chain."""
    seed: Seed = 0
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_choice("hide", self.hide, HIDE)
        check_ranges(self)


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint, ["vae"])
    if saved.spec.kind != "images" or saved.model.log_prob is None:
        raise ConfigError(f"run {config.run!r} is no VAE of images with a posterior")
    path = training.check_writable("imputation", saved.directory / "imputation.json")
    changed = compare(saved, config.allow_changed_data)
    train = data.load(saved.spec.name, "train")["x"]
    test = data.examples(saved.spec.name, "test", config.num)
    x, y = test["x"], test.get("y")
    seen = seen_pixels(config, x.shape)
    fill = lambda values: np.where(seen, x, values.astype(np.uint8))
    mean = np.broadcast_to(train.mean(0), x.shape)
    drawn = filled_in(config, saved, fill(np.round(mean)), seen, y)
    guesses = {"vae": drawn.mean(0), "one_chain": drawn[0], "mean_image": mean}
    report: dict[str, Any] = {"hide": config.hide, "num": len(x), **in_report(changed)}
    report |= {f"rmse_{name}": error_of(guess, x, ~seen) for name, guess in guesses.items()}
    for name, value in report.items():
        print(f"{name:16s}  {value}")
    rows = [x, fill(np.full(x.shape, 100)), *(fill(np.round(guesses[n])) for n in ROWS)]
    grid = image_rows(rows, SHOWN)
    named = plotting.label_rows(grid, ["test images", "hidden", *ROWS.values()])
    picture = plotting.save_image(saved.directory / "samples" / "imputation.png", named)
    training.write_json(path, report)
    print(f"picture: {picture}\nwritten: {path}")


if __name__ == "__main__":
    training.run_main(main)
