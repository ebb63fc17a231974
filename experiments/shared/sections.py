"""The registries whose names an option takes, the experiments of each family, the data sets."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.shared.gan_remedies import REMEDIES
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
    """Every named set, and the patterns of names."""
    rows = {name: entry.description for name, entry in DATASETS.items()} | PATTERNS
    return Section("", "datasets", "datasets", rows)
