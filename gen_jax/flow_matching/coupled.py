"""Flows that start from a degraded image instead of noise (tong2024, with paired data).

    x_t = alpha x0 + sigma (guess + tau z),   z normal, guess = A^+ y of the measured y = A x0 + n,

and the network sees the guess as a further image. tau is what makes the result random: at tau = 0
the flow is a function of y and learns the mean of all images that have it. With tau > 0 the flow of
one guess ends at p(x0 | guess).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_arguments, check_output, no_type_check
from gen_jax.conditions import image
from gen_jax.data_units import to_data, to_model_floats
from gen_jax.diffusion import Options, Parts, Stepper
from gen_jax.diffusion.generate import draw_samples
from gen_jax.errors import ConfigError, check_finite, check_range
from gen_jax.flow_matching.model import flow_matching
from gen_jax.frozen import Given, Maker
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Batch, Float, Key, Metrics

MEMORY = 64
"""Guesses that a model keeps, to sample from when it is given none."""

Degrade = Callable[[Array, Array], Array]
"""`(key, x0 [*shape]) -> guess [*shape]`, in the model's units."""


def halves(x: Array) -> tuple[Array, Array]:
    """The left and the right of images [B, H, 2 W, C]. Raises ConfigError for an odd width."""
    if x.ndim != 4 or x.shape[2] % 2:
        raise ConfigError(f"pairs must have shape [B, H, 2 W, C], got {x.shape}")
    return x[:, :, : x.shape[2] // 2], x[:, :, x.shape[2] // 2 :]


def coupled_batch(
    options: Options, degrade: Degrade | None, key: Key[Array, ""], x: Array
) -> tuple[Array, Float[Array, "B ..."]]:
    """(targets in data units, guesses in the model's units) of a batch x in data units.

    Args:
      degrade: None for images side by side, of which the left one is the guess.
    """
    key_encode, key_degrade = jax.random.split(key)
    if degrade is None:
        source, x = halves(x)
        return x, to_model_floats(options, key_encode, source)
    u = to_model_floats(options, key_encode, x)
    guess = jax.vmap(degrade)(sample_keys(key_degrade, len(u)), u)
    return x, check_output("degrade", guess, u.shape)


@no_type_check
def coupled(
    network,
    optimizer: optax.GradientTransformation,
    degrade: Degrade | None,
    *,
    shape: tuple[int, ...],
    tau: float = 0.5,
    **options,
) -> GenerativeModel:
    """A flow from degraded images; `options` are the fields of `diffusion.Options`.

    Args:
      network: takes the guess as an image beside x, as those of `gen_jax.nets` do.
      degrade: such as `lambda key, x0: A.pseudo_inverse(A.apply(x0) + noise)`; None for data of
        pairs [H, 2 W, C] side by side, whose `sample` returns pairs again.
      shape: of one target.
      tau: standard deviation of the noise on the guess, in the model's units.
    `sample` takes `image` [n, *shape], guesses in the model's units; without it they are those of
    the first batch. Raises ConfigError for a negative tau, a source, coupling or other condition.
    """
    check_finite("tau", check_range("tau", tau, 0))
    if degrade is not None:
        check_arguments("degrade", degrade, ("key", "x0"))
    own = {"condition", "condition_dropout", "source", "start", "coupling"}
    refused = sorted(own & options.keys())
    if refused:
        raise ConfigError(f"{', '.join(refused)}: a coupled flow has its own")

    def start(key, guess):
        return guess + tau * jax.random.normal(key, guess.shape)

    inner = flow_matching(
        network,
        optimizer,
        shape=shape,
        condition=image(shape),
        condition_dropout=0.0,
        start=start,
        **options,
    )
    parts: Parts = inner.parts

    def with_guess(key: Key[Array, ""], batch: Batch) -> Batch:
        target, guess = coupled_batch(parts.options, degrade, key, jnp.asarray(batch["x"]))
        return {"x": target, "image": guess}

    def init(key: Key[Array, ""], batch: Batch) -> Given:
        key_guess, key_own = jax.random.split(key)
        whole = with_guess(key_guess, batch)
        kept = whole["image"][jnp.arange(MEMORY) % len(whole["image"])]
        return Given(kept, inner.init(key_own, whole))

    def step(key: Key[Array, ""], state: Given, batch: Batch) -> tuple[Given, Metrics]:
        key_guess, key_own = jax.random.split(key)
        own, metrics = inner.step(key_own, state.own, with_guess(key_guess, batch))
        return Given(state.frozen, own), metrics

    model = GenerativeModel(
        init,
        step,
        partial(_sample, parts, degrade is None),
        parts=Maker(lambda guesses: inner),
        parameters=lambda state: inner.parameters(state.own),
    )
    return compiled(model, condition=parts.options.condition)


def _sample(
    parts: Parts,
    paired: bool,
    key: Key[Array, "*batch"],
    state: Given,
    n: int,
    *,
    image: Any = None,
    num_steps: int | None = None,
    stepper: str | Stepper | None = None,
) -> Array:
    """Samples [n, ...] in data units; with pairs, each beside its guess.

    Args:
      image: guesses [n, *shape] in the model's units.
      num_steps, stepper: by default the options'; a deterministic one.
    """
    keys = sample_keys(key, n)
    if image is None:
        row = lambda key: jax.random.randint(key, (), 0, MEMORY)
        image = state.frozen[jax.vmap(row)(fold_in(keys, 0))]
    options = {"image": image, "num_steps": num_steps, "stepper": stepper}
    x = draw_samples(parts, fold_in(keys, 1), state.own, n, **options)
    return jnp.concatenate([to_data(parts.options, image), x], 2) if paired else x
