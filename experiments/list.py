"""What there is: experiments, datasets, paths, samplers and the rest, one line each.

python -m experiments.list
"""

from typing import Any

from experiments.shared.gan_parts import REMEDIES
from experiments.shared.networks import NAMES
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
from gen_jax.divergences import F_DIVERGENCES
from gen_jax.training import run_main

WORDS: dict[str, dict[str, str]] = {
    "networks of pixels": {
        "pixel_rnn": "Row LSTM: a state per column, from row to row (oord2016pixel).",
        "pixelcnn": "Masked convolutions; it has a blind spot (oord2016pixel).",
        "gated": "Two stacks with gates, one for the rows above (oord2016conditional).",
        "pixelcnn_pp": "Residual blocks at two resolutions with short-cuts (salimans2017).",
    },
    "paths": {
        "ddpm": "DDPM's schedule of 1000 steps with linear betas (ho2020).",
        "ddpm_cosine": "DDPM's schedule of 1000 steps with cosine betas (nichol2021 eq. 17).",
    },
    "samplers (steppers)": {
        "ddpm": "DDPM's ancestral sampling with the posterior's variance (ho2020).",
        "ddpm_upper": "DDPM's ancestral sampling with the upper of its two variances (ho2020).",
        "backward_euler_maruyama": "Backward sampler with Euler-Maruyama's variance.",
        "backward_posterior": "Backward sampler with the posterior's variance: ddpm's other name.",
        "midpoint": "The midpoint method on dx / dt; two calls per step.",
        "rk4": "The classical Runge-Kutta method on dx / dt; four calls per step.",
        "edm_heun": "Heun in sigma (karras2022, algorithm 1); useless below 20 calls.",
        "edm": "edm_heun with churn 40 (karras2022, algorithm 2): noise added before each step.",
        "dpm_solver_pp_3": "Multistep DPM-Solver++ of order 3 (lu2023).",
        "unipc_3": "UniPC with a predictor of order 3 (zhao2023).",
        "dpm_solver_pp_sde": "DPM-Solver++ with fresh noise in each step (eta = 1).",
    },
    "loss weightings": {
        "uniform": "The plain error of what the network predicts.",
        "simple": "The plain error of eps (ho2020 eq. 14), whatever the network predicts.",
        "bound": "The variational bound, for uniform times (kingma2021 eq. 17).",
        "min_snr": "min(SNR, 5) on the error of x0 (hang2023).",
        "edm": "The plain error of F (karras2022), whatever the network predicts.",
    },
    "bijectors": {
        "affine": "Shift and scale of each coordinate.",
        "rational_quadratic": "A monotone spline of each coordinate (durkan2019).",
        "linear_rational": "A monotone spline of each coordinate (dolatabadi2020).",
        "additive_coupling": "NICE: half of the coordinates shift the others (dinh2015).",
        "affine_coupling": "RealNVP: half of the coordinates shift and scale the others.",
        "gated_coupling": "Glow: a gate that grows no coordinate by more than 14 % (kingma2018).",
        "rational_quadratic_coupling": "Neural spline coupling (durkan2019).",
        "linear_rational_coupling": "Spline coupling with linear fractions (dolatabadi2020).",
        "masked_autoregressive": "MAF: density in one call (papamakarios2017).",
        "inverse_autoregressive": "IAF: samples in one call (kingma2016).",
        "rational_quadratic_autoregressive": "Neural spline flow, autoregressive (durkan2019).",
        "linear_rational_autoregressive": "The splines of TemperFlow, each with an affine map.",
        "block_autoregressive": "Autoregressive over blocks of coordinates, for many of them.",
        "jacobi_autoregressive": "MAF whose sampling iterates all coordinates at once.",
        "planar": "A bend along one direction (rezende2015), inverted by bisection.",
        "inverse_planar": "The same with the density in closed form.",
        "radial": "A swelling around one point (rezende2015).",
        "invertible_linear": "A free matrix that mixes the coordinates (kingma2018).",
        "invertible_linear_lu": "The same as permutation, lower and upper triangle.",
    },
    "bijectors of images": {
        "checkerboard_coupling": "RealNVP: every second pixel moves the others (dinh2017).",
        "channel_coupling": "Half of the channels move the others by splines.",
        "half_image_coupling": "NICE: the upper half shifts the lower one (dinh2015).",
        "image_actnorm": "A shift and a scale per channel, started from data (kingma2018).",
        "invertible_convolution": "A free matrix that mixes the channels (kingma2018).",
        "invertible_convolution_lu": "The same as permutation, lower and upper triangle.",
        "squeeze": "Each 2 x 2 pixels become four channels (dinh2017).",
        "as_image": "Vectors as images, for flows of points.",
        "factor_out": "Half of the channels leave for the base early (dinh2017).",
        "causal_affine": "TarFlow's layer: a causal transformer moves each patch (zhai2025).",
        "jacobi_causal_affine": "The same, sampled by iterating all patches at once.",
        "glow": "All of them in two levels (kingma2018).",
        "realnvp_images": "Checkerboards, squeezes and channels in two levels (dinh2017).",
    },
    "flows of points": {
        "nice": "Additive couplings in turn (dinh2015).",
        "realnvp": "Affine couplings in turn (dinh2017).",
        "rational_quadratic": "Spline couplings in turn (durkan2019).",
        "linear_rational": "Spline couplings in turn (dolatabadi2020).",
        "maf": "Masked autoregressive affine maps (papamakarios2017).",
        "iaf": "Inverse autoregressive affine maps (kingma2016): slow densities.",
        "spline_maf": "Masked autoregressive splines (durkan2019).",
        "planar": "Bends along directions (rezende2015), with quick densities.",
        "radial": "Swellings around points (rezende2015), with quick densities.",
    },
    "losses of score matching": {
        "sliced_reduced": "The sliced loss with its second term averaged (song2020sliced eq. 8).",
    },
    "densities of training times": {
        "logit_normal": "t = sigmoid(N(0, 1)) (esser2024 eq. 19): the middle more often.",
        "log_normal": "log(sigma / alpha) ~ N(-1.2, 1.2^2) (karras2022, table 1).",
    },
    "variants of the VAE": {
        "vae": "The negative ELBO, with beta, warm-up and free bits (kingma2014, higgins2017).",
        "iwae": "The importance weighted bound (burda2016).",
        "dreg": "The same with its doubly reparameterised gradient (tucker2019).",
        "factor": "The ELBO less the total correlation of z, by a critic (kim2018).",
        "info": "Reconstruction, beta KL and the MMD of q(z) and p(z) (zhao2019).",
        "wae_mmd": "A deterministic encoder, and the MMD in place of the KL (tolstikhin2018).",
        "wae_gan": "A deterministic encoder, and a critic of z in place of the KL.",
        "vae_gan": "Reconstruction in the features of a critic of images (larsen2016).",
        "autoencoder": "Reconstruction from a deterministic code alone.",
        "denoising": "Reconstruction from a code of a noisy input (vincent2008).",
    },
    "losses of GANs": {
        "minimax": "The zero-sum game; its generator saturates (goodfellow2014).",
        "non_saturating": "The generator minimises -log D instead.",
        "lsgan": "Least squares to 0 and 1 (mao2017).",
        "lsgan_pearson": "Least squares to -1 and 1, the generator to 0: Pearson's divergence.",
        "wgan": "Differences of scores, for a Lipschitz critic (arjovsky2017).",
        "hinge": "Scores beyond +-1 cost the critic nothing (lim2017).",
        "relativistic": "Pairs: is the real example more real? (jolicoeur2019).",
        **{f"f_{n}": "The dual of this f-divergence (nowozin2016)." for n in F_DIVERGENCES},
        **{
            f"f_{n}_non_saturating": "The same critic; the generator raises its scores."
            for n in F_DIVERGENCES
        },
        "began": "An autoencoder's errors in balance (berthelot2017).",
    },
    "remedies of GANs": {
        "accumulation": "Gradients of two halves of each batch, averaged.",
        "augmentation": "Differentiable colour, translation and cutout (zhao2020).",
        "clipping": "Every parameter of the critic within +-0.1 (arjovsky2017).",
        "consensus": "Both descend the squared field of the game too (mescheder2017).",
        "dropout": "In the critic.",
        "feature_matching": "The generator also matches mean features (salimans2016).",
        "freezing": "No critic update while it ranks over 90 % of pairs right.",
        "instance_noise": "Noise on what the critic sees, falling to 0 (sonderby2017).",
        "lazy": "The penalty at every eighth step only, eight times as strong (karras2020).",
        "minibatch_deviation": "The critic sees the batch's standard deviation (karras2018).",
        "minibatch_discrimination": "It sees how close examples are (salimans2016).",
        "n_critic": "Four critic updates per step.",
        "orthogonal": "The generator's columns are drawn apart (brock2019).",
        "spectral": "Every layer of the critic has spectral norm 1 (miyato2018).",
        "ttur": "The critic learns four times as fast (heusel2017).",
        "unrolled": "The generator looks five critic steps ahead (metz2017).",
    },
    "augmentations": {
        "color": "Brightness, saturation and contrast.",
        "translation": "By up to an eighth of the side, filled with black.",
        "cutout": "A square of half the side, hidden.",
    },
    "metrics": {
        "sliced_wasserstein": "Wasserstein-2 distance of one-dimensional projections, averaged.",
        "precision": "Share of samples inside the data's estimated support (kynkaanniemi2019).",
        "recall": "Share of the data inside the samples' estimated support.",
        "density": "How many neighbourhoods of data hold each sample, scaled (naeem2020).",
        "coverage": "Share of the data that have a sample in their neighbourhood (naeem2020).",
    },
}
"""Entries whose function has no docstring of its own, or only that of a whole family."""


def first_line(thing: object) -> str:
    """The first line of a docstring."""
    return (getattr(thing, "__doc__", None) or "").strip().split("\n")[0]


def sections() -> dict[str, dict[str, str]]:
    """Title -> name -> one line."""
    networks = {"mlp": nets.MLP, "unet": nets.UNet, "dit": nets.DiT}
    registries: dict[str, Any] = {
        "networks": {n: networks[n] for n in NAMES if n != "auto"},
        "networks of pixels": autoregressive.NETWORKS,
        "laws of one value": autoregressive.LIKELIHOODS,
        "paths": paths.PATHS,
        "samplers (steppers)": diffusion.STEPPERS,
        "time grids": diffusion.GRIDS,
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
        "losses of GANs": {**gan.GAN_LOSSES, "began": gan.began.began},
        "penalties of GANs": gan.PENALTIES,
        "remedies of GANs": REMEDIES,
        "augmentations": gan.AUGMENTATIONS,
    }
    lines = {
        title: {n: WORDS.get(title, {}).get(n) or first_line(f) for n, f in registry.items()}
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
