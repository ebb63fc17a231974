"""A classifier of noisy examples, log p(y | x_t), for classifier guidance (dhariwal2021)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.axes import entry_of, expand
from gen_jax.checks import as_network, check_output
from gen_jax.conditions import check_in_range, labels
from gen_jax.diffusion.network import noise_input
from gen_jax.diffusion.time_sampling import low_discrepancy
from gen_jax.errors import ConfigError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.optimization import init_state_with_ema, optimizer_step_with_ema
from gen_jax.paths import GaussianPath, check_path
from gen_jax.types import Array, Denoiser, Float, Int, Key


def noisy_classifier(
    network: Any,
    path: GaussianPath | None,
    optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    num_classes: int,
    encode: Callable[[Array], Array] = lambda x: x,
    augment: Callable[[Key[Array, ""], Array], Array] = lambda key, x: x,
    smoothing: float = 0.0,
    ema_decay: float = 0.995,
) -> GenerativeModel:
    """`init` and `step` of a classifier of x_t = alpha x0 + sigma eps; it has nothing to sample.

    Args:
      network: Flax module, `(x [B, *shape], noise [B] or None) -> (logits [B, num_classes], ...)`.
      path: of the noise, t of low discrepancy; None trains on the examples as they are.
      encode: data units to those of the path.
      augment: `(key, x0) -> x0` of each step.
      smoothing: of the labels; a guide's gradient is that of log p(y | x_t), which it flattens.
    Raises ConfigError for numbers out of range, `init` DataError for labels outside 0 .. K - 1.
    """
    as_network("network", network)
    path = None if path is None else check_path(path)
    check_range("num_classes", num_classes, 2, integer=True)
    check_range("smoothing", smoothing, 0, 1)
    check_range("ema_decay", ema_decay, 0, 1)

    def init(key, batch):
        labels(num_classes).of_batch(batch)
        noise = None if path is None else jnp.zeros(1)
        return init_state_with_ema(network.init(key, jnp.zeros((1, *shape)), noise), optimizer)

    def loss(params, key, batch):
        key_augment, key_time, key_noise = jax.random.split(key, 3)
        x, noise = augment(key_augment, encode(batch["x"])), None
        if path is not None:
            t = low_discrepancy(key_time, path, len(x))
            eps = jax.random.normal(key_noise, x.shape)
            x = expand(path.alpha(t), x) * x + expand(path.sigma(t), x) * eps
            noise = noise_input(path, t)
        logits = network.apply(params, x, noise)[0]
        check_output("network", logits, (len(x), num_classes))
        wanted = optax.smooth_labels(jax.nn.one_hot(batch["y"], num_classes), smoothing)
        right = logits.argmax(-1) == batch["y"]
        return optax.softmax_cross_entropy(logits, wanted), {"accuracy": right}

    def step(key, state, batch):
        of_batch = lambda params: loss(params, key, batch)
        return optimizer_step_with_ema(of_batch, optimizer, ema_decay, state)

    return GenerativeModel(init, step, sample=None)  # type: ignore[arg-type]


def label_log_prob(
    network: Any, path: GaussianPath, params: Any, label: Int[Array, "B"]
) -> Denoiser:
    """`(x_t [B, ...], t [B]) -> log p(label | x_t)` [B], on the classifier's own path and units.

    It raises ConfigError for labels that are no classes; under jit these give NaN.
    """

    def log_p(x: Float[Array, "B ..."], t: Float[Array, "B"]) -> Float[Array, "B"]:
        logits = network.apply(params, x, noise_input(path, t))[0]
        check_in_range("label", "labels", label, logits.shape[-1] - 1, ConfigError)
        return entry_of(jax.nn.log_softmax(logits), label)

    return log_p


def shift_and_flip(shift: int, flip: bool) -> Callable[[Key[Array, ""], Array], Array]:
    """Moves each image [B, H, W, C] by up to `shift` pixels, edges repeated, and may mirror it."""

    def augment(key, x):
        key_shift, key_flip = jax.random.split(key)
        b, h, w, c = x.shape
        padded = jnp.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
        corner = jax.random.randint(key_shift, (b, 2), 0, 2 * shift + 1)
        cut = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (h, w, c))
        x = jax.vmap(cut)(padded, corner)
        mirrored = jax.random.bernoulli(key_flip, 0.5, (b, 1, 1, 1)) & flip
        return jnp.where(mirrored, x[:, :, ::-1], x)

    return augment
