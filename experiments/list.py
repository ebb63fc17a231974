"""What there is: experiments, datasets, paths, samplers and the rest, by family.

python -m experiments.list            # the names, on one screen
python -m experiments.list samplers   # one section, a line for each name
python -m experiments.list all
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import tyro

from experiments.shared.gan_remedies import REMEDIES
from experiments.shared.plugins import load_plugin
from experiments.shared.registry import EXPERIMENTS, GUIDES, described, families
from gen_jax import (
    autoregressive,
    diffusion,
    discrete_diffusion,
    divergences,
    energy,
    flow_matching,
    flows,
    gan,
    inverse,
    mcmc,
    metrics,
    nets,
    paths,
    sampling,
    vae,
)
from gen_jax.data import DATASETS, PATTERNS
from gen_jax.errors import check_choice
from gen_jax.registries import description
from gen_jax.training import run_main


class Section(NamedTuple):
    """A registry: its family, its name for the command line, its title, and its rows."""

    family: str
    name: str
    title: str
    rows: Mapping[str, Any]


def registries() -> list[Section]:
    """Every registry whose names an option takes."""
    return [
        Section("targets", "targets", "targets (known densities)", sampling.TARGETS),
        Section("divergences", "couplings", "couplings", divergences.couplings.COUPLINGS),
        Section("autoregressive", "pixels", "networks of pixels", autoregressive.NETWORKS),
        Section("autoregressive", "values", "laws of one value", autoregressive.LIKELIHOODS),
        Section("flows", "flows", "flows of points", flows.FLOWS),
        Section("flows", "bijectors", "bijectors", flows.BIJECTORS),
        Section("flows", "image_bijectors", "bijectors of images", flows.IMAGE_BIJECTORS),
        Section("energy", "score_losses", "losses of score matching", energy.SCORE_LOSSES),
        Section("vae", "variants", "variants of the VAE", vae.VARIANTS),
        Section("vae", "priors", "priors of latents", vae.PRIORS),
        Section("vae", "posteriors", "posteriors of latents", vae.POSTERIORS),
        Section("vae", "decoders", "likelihoods of decoders", vae.LIKELIHOODS),
        Section("gan", "losses", "losses of GANs", {**gan.LOSS_MAKERS, "began": gan.began.began}),
        Section("gan", "penalties", "penalties of GANs", gan.PENALTIES),
        Section("gan", "remedies", "remedies of GANs", REMEDIES),
        Section("gan", "augmentations", "augmentations", gan.AUGMENTATIONS),
        Section("diffusion", "paths", "paths", paths.PATHS),
        Section("diffusion", "samplers", "samplers (steppers)", diffusion.STEPPERS),
        Section("diffusion", "grids", "time grids", diffusion.GRIDS),
        Section("diffusion", "objectives", "losses of diffusion", diffusion.LOSSES),
        Section("diffusion", "weightings", "loss weightings", diffusion.WEIGHTINGS),
        Section("diffusion", "times", "densities of training times", diffusion.TIME_DENSITIES),
        Section("diffusion", "noise_inputs", "noise inputs of networks", diffusion.NOISE_INPUTS),
        Section("diffusion", "networks", "networks", nets.NETWORKS),
        Section(
            "flow matching", "few_step", "losses of few-step maps", flow_matching.FEW_STEP_LOSSES
        ),
        Section("tokens", "token_paths", "paths of tokens", discrete_diffusion.TOKEN_PATHS),
        Section(
            "tokens", "token_samplers", "samplers of tokens", discrete_diffusion.TOKEN_STEPPERS
        ),
        Section("inverse problems", "operators", "operators", inverse.OPERATORS),
        Section("inverse problems", "guides", "guides of inverse problems", inverse.GUIDES),
        Section("mcmc", "kernels", "kernels of Markov chains", mcmc.KERNELS),
        Section("measures", "metrics", "metrics", metrics.METRICS),
    ]


def scripts() -> list[Section]:
    """The experiments of each family, and the commands."""
    lines = described()
    trained = [
        Section(family, "experiments", "experiments", {name: lines[name] for name in names})
        for family, names in families().items()
    ]
    used = {*EXPERIMENTS, *GUIDES}
    commands = {name: line for name, line in lines.items() if name not in used}
    return [*trained, Section("", "commands", "commands", commands)]


def data_sets() -> Section:
    rows = {name: entry.description for name, entry in DATASETS.items()} | PATTERNS
    return Section("", "datasets", "datasets", rows)


def sections() -> dict[str, dict[str, str]]:
    """Title -> name -> one line."""
    found: dict[str, dict[str, str]] = {"experiments": {}, "commands": {}, "datasets": {}}
    for section in [*scripts(), data_sets(), *registries()]:
        lines = {n: r if isinstance(r, str) else description(r) for n, r in section.rows.items()}
        found[section.title] = {**found.get(section.title, {}), **lines}
    return found


def overview(width: int) -> str:
    """One line for each section, family by family; names that do not fit are counted."""
    every = [*scripts(), *registries()]
    families = dict.fromkeys(section.family for section in every if section.family)
    parts = [section for family in families for section in every if section.family == family]
    rows, last = [], None
    for section in [*parts, *(s for s in every if not s.family), data_sets()]:
        head = f"{'' if section.family == last else section.family:17s}{section.name:16s}"
        rows.append(head + fitted([*section.rows], width - len(head)))
        last = section.family
    return "\n".join(rows)


def fitted(names: list[str], width: int) -> str:
    """As many names as there is room for, then how many more there are."""
    text = " ".join(names)
    for kept in range(len(names) - 1, 0, -1):
        if len(text) <= width:
            break
        text = f"{' '.join(names[:kept])} ... +{len(names) - kept}"
    return text


@dataclass(frozen=True)
class Config:
    """What to show."""

    section: tyro.conf.Positional[str | None] = None
    """A name of the second column, or all; the overview if not given."""
    plugin: str | None = None
    """Your own module, imported first: what it adds to the registries is shown too."""


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    load_plugin(config.plugin)
    if config.section is None:
        print(overview(shutil.get_terminal_size((100, 50)).columns))
        print(
            "\n`python -m experiments.list SECTION` has a line for each name, as in: list samplers"
        )
        return
    titles = {section.name: section.title for section in [*scripts(), *registries(), data_sets()]}
    check_choice("section", config.section, [*titles, "all"])
    for title, lines in sections().items():
        if config.section == "all" or titles[config.section] == title:
            print(title)
            for name, line in lines.items():
                print(f"  {name:24s} {line}".rstrip())
            print()


if __name__ == "__main__":
    run_main(main)
