"""Energy-based models: log p(x) = log base(x) - F(x) - log Z, F a network.

Trained by samples of the model (`ebm`, and `jem` with labels), by score matching (`score_model`,
`ncsn`) or by classifying data against noise (`nce`). The losses are pure functions of callables.
"""

from gen_jax.energy.chains import Negatives, run_chains
from gen_jax.energy.contrastive import contrastive
from gen_jax.energy.denoising import denoising
from gen_jax.energy.ebm import ebm, negative_samples
from gen_jax.energy.implicit import explicit, hutchinson, implicit
from gen_jax.energy.jem import jem
from gen_jax.energy.joint import joint_energy, label_loss, marginal_energy
from gen_jax.energy.model import model_from_parts
from gen_jax.energy.nce import nce
from gen_jax.energy.ncsn import ncsn
from gen_jax.energy.noise_contrastive import noise_contrastive
from gen_jax.energy.normalizer import Annealing, anneal, log_base
from gen_jax.energy.options import ChainOptions, EnergyState, Method, Options, Parts, make_parts
from gen_jax.energy.score_model import SCORE_LOSSES, score_model, score_of
from gen_jax.energy.sliced import sliced
from gen_jax.energy.trained import annealed, energy, log_normalizer, logits, score

__all__ = [
    "SCORE_LOSSES",
    "Annealing",
    "ChainOptions",
    "EnergyState",
    "Method",
    "Negatives",
    "Options",
    "Parts",
    "anneal",
    "annealed",
    "contrastive",
    "denoising",
    "ebm",
    "energy",
    "explicit",
    "hutchinson",
    "implicit",
    "jem",
    "joint_energy",
    "label_loss",
    "log_base",
    "log_normalizer",
    "logits",
    "make_parts",
    "marginal_energy",
    "model_from_parts",
    "nce",
    "ncsn",
    "negative_samples",
    "noise_contrastive",
    "run_chains",
    "score",
    "score_model",
    "score_of",
    "sliced",
]
