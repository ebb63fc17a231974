"""Sample the latent energy of a trained VAE by TemperFlow and by Markov chains; decode the samples.

    python -m experiments.vae --dataset digits --latent 8
    python -m experiments.latent_energy runs/vae-digits

The density is that of the aggregate posterior q(z) = (1/n) sum_i q(z | x_i) of n training images:
log Z is 0 and exact samples are known. The run gets `latent_energy.json`, and in samples/ a row of
decoded samples of each sampler but the refined one. Reverse KL takes as many steps as TemperFlow;
100 chains start from N(0, I) and have tuned step sizes. SW is the sliced Wasserstein distance to
exact samples; the Frechet distance and the total variation of the classes found (TV) are to 2,000
decoded ones, by the set's classifier; ESS is the effective number of the flow's 10,000 weights.

1,000 images leave narrow modes: the flows do not find their weights, and with so small an ESS
neither log Z nor its error means much; parallel tempering is best by far (docs/results.md).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated

import jax
import numpy as np
import tyro

from experiments.shared.command_line import read_options
from experiments.shared.flow_options import FlowConfig
from experiments.shared.latent_pictures import grey
from experiments.shared.latent_report import COLUMNS, judge_of, numbers_of, picture
from experiments.shared.latent_samplers import draw_all, exact
from experiments.shared.option_types import (
    MAX_SAMPLES,
    MAX_STEPS,
    Positive,
    SavedStep,
    Seed,
    within,
)
from experiments.shared.provenance import compare, in_report
from experiments.shared.registry import Saved
from experiments.shared.runner import rebuild
from gen_jax import data, training, vae
from gen_jax.errors import ConfigError
from gen_jax.flows import spline_flow
from gen_jax.ranges import check_ranges
from gen_jax.sampling import Target
from gen_jax.transport import Schedule
from gen_jax.types import Array

COMPARED = 2000
"""Decoded images of each sampler that are compared with exact ones."""


@dataclass(frozen=True)
class Config:
    """Which run, how many draws, and how much each sampler may spend."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run of experiments.vae on images."""
    examples: Annotated[int, *within(2, MAX_SAMPLES)] = 1000
    """Training images whose posteriors make the density, at most."""
    num: Annotated[int, *within(2, MAX_SAMPLES)] = 10_000
    """Latents drawn by every sampler."""
    evaluations: Annotated[int, *within(1000, MAX_STEPS)] = 10_000
    """Log-densities that a Markov chain computes; there are 100 chains."""
    flow: FlowConfig = field(default_factory=lambda: FlowConfig(bins=16, half_width=6.0))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(batch_size=300, first_steps=300, stage_steps=200)
    )
    margin: Positive = 10.0
    """Refinement's bound on p / (q Z)."""
    seed: Seed = 0
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_ranges(self)
        self.schedule.check()
        spline_flow(**asdict(self.flow))


def latents_of(saved: Saved, examples: int) -> tuple[Target, Callable[[Array], np.ndarray]]:
    """The aggregate posterior of training images, and `z [N, D] -> images` by the decoder.

    Raises ConfigError for a run whose latents do not decode to images, or not by themselves.
    """
    if saved.spec.kind != "images" or saved.config.conditional:
        what = "needs labels to decode" if saved.config.conditional else "decodes no images"
        raise ConfigError(f"run {str(saved.directory)!r} {what}")
    functions = vae.functions(saved.model, saved.state)
    x = data.examples(saved.spec.name, "train", examples)["x"]
    target = vae.aggregate_target(vae.encode(saved.model, saved.state, x))
    return target, lambda z: grey(functions.likelihood, functions.decode(z))


def main() -> None:
    (config := read_options(Config, __doc__)).check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint, ["vae"])
    path = training.check_writable("latent_energy", saved.directory / "latent_energy.json")
    changed = compare(saved, config.allow_changed_data)
    target, decode = latents_of(saved, config.examples)
    key_draw, key_real, key_compare = jax.random.split(jax.random.key(config.seed), 3)
    drawn = draw_all(key_draw, target, config)
    judge = judge_of(saved.spec.name, decode(exact(key_real, target, min(config.num, COMPARED))))
    report = {}
    for title, found in drawn.items():
        images = decode(found.samples[:COMPARED])
        report[title] = numbers_of(key_compare, target, found) | judge(images)
        shown = {name: report[title][name] for name in COLUMNS if name in report[title]}
        print(title, *(f"{name} {value:.3g}" for name, value in shown.items()), sep="\n  ")
    training.write_json(path, in_report(changed) | report)
    print(f"written: {path}")
    print(f"picture: {picture(saved.directory / 'samples' / 'latent_energy.png', drawn, decode)}")


if __name__ == "__main__":
    training.run_main(main)
