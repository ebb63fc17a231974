"""An energy trained by score matching, as a `GenerativeModel` (saremi2018)."""

from collections.abc import Callable
from functools import partial

import jax
import optax

from gen_jax.checks import check_output, no_type_check, per_point
from gen_jax.energy.denoising import denoising
from gen_jax.energy.implicit import hutchinson, implicit
from gen_jax.energy.model import energy_of, model_from_parts
from gen_jax.energy.options import Method, Options, Parts, make_parts
from gen_jax.energy.sliced import sliced
from gen_jax.errors import check_choice
from gen_jax.model import GenerativeModel
from gen_jax.ranges import options_from
from gen_jax.registries import described
from gen_jax.types import Array

SCORE_LOSSES: dict[str, Callable[..., Array]] = {
    "implicit": implicit,
    "hutchinson": hutchinson,
    "sliced": sliced,
    "sliced_reduced": described(
        "The sliced loss with its second term averaged (song2020sliced eq. 8).",
        lambda key, score, x: sliced(key, score, x, reduced=True),
    ),
    "denoising": denoising,
}
"""`SCORE_LOSSES[name](key, score, x [B, ...]) -> [B]`, at the defaults of each."""


def score_of(energy: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """-grad E, `x [B, ...] -> [B, ...]`, for an energy that treats each example by itself."""
    return jax.grad(lambda x: -per_point("energy", energy)(x).sum())


def _objective(loss: Callable[..., Array], parts: Parts, params, stats, key, x, batch, negatives):
    score = score_of(energy_of(parts, params, stats))
    return check_output("loss", loss(key, score, x), (len(x),), "one number per example, "), {}


@no_type_check
def score_model(
    network,
    optimizer: optax.GradientTransformation,
    *,
    loss: str | Callable[..., Array] = "sliced",
    **options,
) -> GenerativeModel:
    """Score matching of an energy; no chain runs in training.

    Args:
      network: Flax module, `x [B, *shape] -> F(x) [B]`, smooth.
      loss: a name in SCORE_LOSSES or `(key, score, x) -> [B]`.
      options: fields of `Options`. `data_noise` makes the data smooth, which implicit score
        matching needs of theirs; "denoising" has its own noise besides.
    Samples and log Z are annealed from the base. The loss hardly sees the weights of modes apart
    (wenliang2019): do not trust them. `log_prob` is an estimate, too large on average.
    Raises ConfigError for unknown names and numbers out of range.
    """
    if isinstance(loss, str):
        loss = SCORE_LOSSES[check_choice("loss", loss, SCORE_LOSSES)]
    method = Method(partial(_objective, loss))
    return model_from_parts(make_parts(network, optimizer, options_from(Options, options), method))
