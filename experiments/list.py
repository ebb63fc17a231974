"""What there is: experiments, datasets, paths, samplers and the rest, one line each.

python -m experiments.list
"""

from typing import Any

from experiments.shared.gan_remedies import REMEDIES
from experiments.shared.registry import EXPERIMENTS, GUIDES, described
from gen_jax import (
    autoregressive,
    diffusion,
    divergences,
    energy,
    flows,
    gan,
    mcmc,
    metrics,
    nets,
    paths,
    sampling,
    vae,
)
from gen_jax.data import DATASETS, PATTERNS
from gen_jax.registries import description
from gen_jax.training import run_main


def sections() -> dict[str, dict[str, str]]:
    """Title -> name -> one line."""
    registries: dict[str, Any] = {
        "networks": nets.NETWORKS,
        "networks of pixels": autoregressive.NETWORKS,
        "laws of one value": autoregressive.LIKELIHOODS,
        "paths": paths.PATHS,
        "samplers (steppers)": diffusion.STEPPERS,
        "time grids": diffusion.GRIDS,
        "losses of diffusion": diffusion.LOSSES,
        "loss weightings": diffusion.WEIGHTINGS,
        "densities of training times": diffusion.TIME_DENSITIES,
        "noise inputs of networks": diffusion.NOISE_INPUTS,
        "losses of score matching": energy.SCORE_LOSSES,
        "couplings": divergences.couplings.COUPLINGS,
        "targets (known densities)": sampling.TARGETS,
        "kernels of Markov chains": mcmc.KERNELS,
        "bijectors": flows.BIJECTORS,
        "bijectors of images": flows.IMAGE_BIJECTORS,
        "flows of points": flows.FLOWS,
        "metrics": metrics.METRICS,
        "likelihoods of decoders": vae.LIKELIHOODS,
        "priors of latents": vae.PRIORS,
        "posteriors of latents": vae.POSTERIORS,
        "variants of the VAE": vae.VARIANTS,
        "losses of GANs": {**gan.LOSS_MAKERS, "began": gan.began.began},
        "penalties of GANs": gan.PENALTIES,
        "remedies of GANs": REMEDIES,
        "augmentations": gan.AUGMENTATIONS,
    }
    lines = {
        title: {name: description(row) for name, row in registry.items()}
        for title, registry in registries.items()
    }
    datasets = {n: entry.description for n, entry in DATASETS.items()} | PATTERNS
    scripts = described()
    trained = {name: line for name, line in scripts.items() if name in (*EXPERIMENTS, *GUIDES)}
    others = {name: line for name, line in scripts.items() if name not in trained}
    return {"experiments": trained, "commands": others, "datasets": datasets, **lines}


def main() -> None:
    for title, rows in sections().items():
        print(title)
        for name, line in rows.items():
            print(f"  {name:24s} {line}".rstrip())
        print()


if __name__ == "__main__":
    run_main(main)
