"""Can a person distinguish samples from data? Blind pairs on a page, the score of the choices made.

    python -m experiments.human runs/diffusion-digits
    python -m experiments.human --score choices.json

The first writes `human.html` in the run directory: open it in a browser, choose in each pair the
one that is generated, and save the choices. It needs no network and sends nothing. The second
counts them: a rate of 1/2 is guessing, 1 a model that everybody sees through. The real examples are
of the test set; which side is generated is masked in the page, and scored by the command alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import tyro

from experiments.shared.blind_pairs import read_choices, score, write_page
from experiments.shared.command_line import read_options
from experiments.shared.option_types import SavedStep, Seed, within
from experiments.shared.pictures import balanced_labels, draw
from experiments.shared.provenance import compare
from experiments.shared.runner import rebuild
from gen_jax import data, training
from gen_jax.errors import ConfigError, DataError
from gen_jax.ranges import check_ranges


@dataclass(frozen=True)
class Config:
    """A run to be judged, or choices to be scored."""

    run: Annotated[str | None, tyro.conf.Positional] = None
    """Directory of a run on images or text."""
    score: str | None = None
    """File of choices that the page saved."""
    num: Annotated[int, *within(1, 5000)] = 50
    """Pairs of the page."""
    confidence: Annotated[float, *within(0.5, 0.9999)] = 0.95
    """Of the intervals."""
    seed: Seed = 0
    """Of the samples."""
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_ranges(self)
        if (self.run is None) == (self.score is None):
            raise ConfigError(
                f"run={self.run!r} and score={self.score!r}: give one of them, a directory or the "
                "file of choices"
            )


def write(config: Config, run: str) -> Path:
    """Draw the samples and write the page of a run."""
    training.configure_backend(1)
    saved = rebuild(run, config.checkpoint)
    if saved.spec.kind not in ("images", "text"):
        raise ConfigError(f"run {run!r} draws {saved.spec.kind}, which nobody can judge")
    path = training.check_writable("human", saved.directory / "human.html")
    compare(saved, config.allow_changed_data)
    real = data.examples(saved.spec.name, "test", config.num)
    if len(real["x"]) < config.num:
        raise DataError(f"num={config.num} pairs need as many test examples, not {len(real['x'])}")
    # Each sample has the label of the example beside it, which then gives no hint.
    alike = balanced_labels(saved.model, saved.spec, config.num) is not None
    given = {"label": jnp.asarray(real["y"], jnp.int32)} if alike else {}
    generated = draw(saved.model, saved.spec, saved.state, config.num, config.seed, **given)
    return write_page(path, saved.spec, real["x"], generated, f"{saved.name}, {saved.spec.name}")


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    if config.run is not None:
        print(f"written: {write(config, config.run)}")
        print("next: open it, save the choices, python -m experiments.human --score choices.json")
        return
    assert config.score is not None
    for name, value in score(read_choices(Path(config.score)), config.confidence).items():
        ends = [f"{end:.4f}" for end in value] if isinstance(value, list) else f"{value:.4g}"
        print(f"{name:20s}  {ends if isinstance(ends, str) else ' to '.join(ends)}")


if __name__ == "__main__":
    training.run_main(main)
