"""Comparisons of a few models at equal CPU time: what is trained, and how each run is measured."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from benchmarks import recipes


class Line(NamedTuple):
    """A run, and the lines of the table that are measured of it.

    Fields:
      name: of the line.
      words: experiment and options; without its data set, directory and time.
      minutes: CPU minutes of training, of all threads and with compilation.
      evaluations: what is added to the name -> options of `experiments.evaluate`.
      base: the name of the line whose run it starts from; this one's own time is beside it.
    """

    name: str
    words: str
    minutes: float
    evaluations: Mapping[str, str] = MappingProxyType({"": ""})
    base: str | None = None


class Study(NamedTuple):
    """Lines that are compared, and the numbers of `experiments.evaluate` that are shown."""

    dataset: str
    lines: tuple[Line, ...]
    columns: dict[str, str]


def guided(options: str, *weights: float) -> dict[str, str]:
    """Evaluations without guidance, and with each weight."""
    each = {f", guidance {weight:g}": f"{options} --guidance {weight:g}" for weight in weights}
    return {"": options, **each}


IMAGES = {
    "frechet": "Frechet distance",
    "label_accuracy": "label accuracy",
    "precision": "precision",
    "recall": "recall",
    "bits_per_dim": "bits/dim",
    "log_prob_kind": "kind",
}
ASKED = {
    f"{word}_as_asked{kind}": f"{word}{said}"
    for kind, said in (("", ""), ("_unseen", ", held out"))
    for word in ("size", "colour", "shape", "relation", "all")
}
STEPS = {f", {count} steps": f"--steps {count} --likelihood 0" for count in (4, 16, 256)}
TOKENS = "token_diffusion --network.dropout 0 --batch-size 64 --ema-decay 0.998"
SMALL_TEXT = "--network.width 64 --network.depth 3 --network.dropout 0 --batch-size 32 "
SMALL_TEXT += "--learning-rate 4e-3"
CODER = f"{recipes.CODER} --beta 0.1"
DIT = "--network.name dit --network.width 64 --network.depth 4 --batch-size 64 --ema-decay 0.998 "
DIT += "--learning-rate 2e-3"
FEW = {"": "--num 1000 --likelihood 50"}
GUIDED = {", guidance 2": "--num 1000 --guidance 2 --likelihood 0"}
SENTENCES = "text_to_image --batch-size 64 --ema-decay 0.998"
SCENES = guided("--num 600 --likelihood 0", 3)
OUTLINES = {"": "--num 100 --likelihood 0"}


def controlled(dataset: str) -> Study:
    """Outlines by a side copy of a base and by a network from scratch, of equal CPU time together
    with the base, from few pairs and from many."""
    base = Line("the base", f"diffusion {DIT}", 5, {})
    lines = [base]
    for pairs in (1000, 10_000):
        few = f"--pairs {pairs} --batch-size 64 --learning-rate 2e-3"
        copy = Line(f"side copy, {pairs:,} pairs", f"control {few}", 4, OUTLINES, "the base")
        lines += [copy, Line(f"Palette, {pairs:,} pairs", f"control {DIT} {few}", 9, OUTLINES)]
    return Study(
        dataset,
        tuple(lines),
        {
            "outline_agreement": "agreement of outlines (F1)",
            "outline_agreement_of_base": "of the base without them",
            "outline_agreement_of_others": "of other images",
            "controlled_frechet": "Frechet distance",
            "controlled_label_accuracy": "label accuracy",
        },
    )


STUDIES: dict[str, Study] = {
    "tokens-binarized-mnist": Study(
        "binarized:mnist",
        (
            Line(
                "MADE",
                "made --hidden 1000 --batch-size 256 --learning-rate 2e-3 --ema-decay 0.99",
                5,
                {"": "--num 1000 --likelihood 1000"},
            ),
            Line(
                "gated PixelCNN",
                "pixelcnn --network.name gated --network.width 32 --network.depth 5 "
                "--network.kernel 5 --batch-size 32 --learning-rate 2e-3 --ema-decay 0.99",
                5,
                {"": "--num 1000 --likelihood 1000"},
            ),
            Line(
                "VAE, VampPrior",
                "vae --prior vamp --components 200 --hidden 400 --latent 20",
                5,
                {"": "--num 1000 --likelihood 1000 --importance-samples 500"},
            ),
            Line(
                "masked tokens, patches of 4",
                f"{TOKENS} --patch 4 --network.width 96 --network.depth 4 --learning-rate 2e-3",
                5,
                {"": "--num 1000 --likelihood 1000"}
                | {name: f"--num 1000 {options}" for name, options in STEPS.items()},
            ),
        ),
        {"log_prob_nats": "log p in nats", "log_prob_kind": "kind"}
        | {name: IMAGES[name] for name in ("frechet", "precision", "recall")},
    ),
    "tokens-genesis": Study(
        "genesis",
        (
            Line("transformer", f"transformer {SMALL_TEXT}", 5),
            Line(
                "masked tokens",
                f"token_diffusion --ema-decay 0.998 {SMALL_TEXT}",
                5,
                {"": "", **STEPS, ", 64 steps by confidence": "--stepper by_confidence"},
            ),
        ),
        {
            "bits_per_character": "bits/character",
            "log_prob_kind": "kind",
            "generated_perplexity_per_token": "perplexity of samples",
            "sample_entropy_bits": "entropy of a sample's characters, bits",
            "distinct_4_grams": "distinct 4-grams",
        },
    ),
    "latents-mnist": Study(
        "mnist",
        (
            Line("pixels", f"diffusion {DIT}", 9, FEW | GUIDED),
            Line("first stage, VAE", CODER, 2, {}),
            Line(
                "latents of the VAE",
                f"latent_diffusion {DIT} --network.patch 1 --sampling-steps 20",
                7,
                FEW | GUIDED,
                base="first stage, VAE",
            ),
            Line("codes by a transformer", recipes.CODES, 9, FEW),
            Line(
                "codes by masked tokens",
                f"{recipes.CODES} --prior diffusion",
                9,
                FEW,
            ),
            Line(
                "vectors of the codes",
                f"latent_diffusion {DIT} --network.patch 1 --sampling-steps 20",
                7,
                FEW,
                base="codes by a transformer",
            ),
        ),
        IMAGES
        | {
            "reconstruction_error": "error of the first stage",
            "reconstruction_frechet": "its Frechet distance",
            "codes_perplexity_0": "codes in use",
        },
    ),
    "mnist-hour": Study(
        "mnist",
        (
            Line(
                "diffusion",
                f"diffusion {recipes.DIT}",
                60,
                guided("--num 10000 --steps 12 --likelihood 0", 1.5, 2),
            ),
        ),
        {name: IMAGES[name] for name in ("frechet", "label_accuracy", "precision", "recall")},
    ),
    "mnist-codes": Study(
        "mnist",
        (
            Line(
                "VQ-VAE, prior by labels",
                f"{recipes.CODES} --conditional",
                20,
                guided("--num 10000 --likelihood 0", 2),
            ),
        ),
        {name: IMAGES[name] for name in ("frechet", "label_accuracy", "precision", "recall")},
    ),
    "control-mnist": controlled("mnist"),
    "control-fashion": controlled("fashion_mnist"),
    "shapes": Study(
        "shapes:16",
        (
            Line(
                "pixels, patches of 4",
                f"{SENTENCES} --model pixels --network.patch 4 --network.width 96 "
                "--network.depth 4 --sampling-steps 24 --learning-rate 2e-3",
                12,
                SCENES,
            ),
            Line(
                "codes by a transformer",
                f"{SENTENCES} --model tokens --width 32 --codes 128 --halvings 1 "
                "--prior-network.width 96 --prior-network.depth 4 --prior-network.dropout 0",
                12,
                SCENES,
            ),
            Line(
                "first stage, VQ-VAE",
                "vqvae --prior counts --batch-size 64 --width 32 --codes 128 --halvings 1",
                2,
                {},
            ),
            Line(
                "vectors of the codes",
                f"{SENTENCES} --model latent --network.patch 1 --network.width 96 "
                "--network.depth 4 --sampling-steps 24 --learning-rate 2e-3",
                10,
                SCENES,
                base="first stage, VQ-VAE",
            ),
        ),
        ASKED,
    ),
}
