"""Diffusion and flow-matching models: a network, a path and a loss as a `GenerativeModel`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output, no_type_check
from gen_jax.conditions import batch_labels, check_classes, checked_labels
from gen_jax.data_units import check_data, to_model_floats
from gen_jax.diffusion.generate import draw_samples, log_prob
from gen_jax.diffusion.losses import denoising_loss
from gen_jax.diffusion.network import Preconditioned, predict
from gen_jax.diffusion.options import (
    Options,
    checked,
    draw_source,
    resolve_path,
)
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, compiled, one_or_each
from gen_jax.optimization import AveragedState, init_state_with_ema, optimizer_step_with_ema
from gen_jax.paths import GaussianPath
from gen_jax.randomness import sample_keys
from gen_jax.types import Array, Float, Key, Metrics


def init_state(key: Key[Array, ""], network, optimizer, options: Options, batch) -> AveragedState:
    """Fresh state; raises ConfigError when the batch does not fit the options."""
    batch_labels(batch, options.num_classes)
    check_data(options, batch["x"])
    label = jnp.zeros(1, jnp.int32) if options.num_classes else None
    params = network.init(key, jnp.zeros((1, *options.shape)), jnp.zeros(1), label)
    return init_state_with_ema(params, optimizer)


def training_loss(
    params: Any, key: Key[Array, ""], batch, p: Preconditioned, options: Options
) -> tuple[Float[Array, "B"], Metrics]:
    """`denoising_loss` with its own times, noise, pairing and dropped labels."""
    key_encode, key_time, key_noise, key_pair, key_drop = jax.random.split(key, 5)
    x0 = to_model_floats(options, key_encode, batch["x"])
    n = x0.shape[0]
    eps = draw_source(options, sample_keys(key_noise, n))
    if options.coupling is not None:
        eps = eps[options.coupling(key_pair, x0, eps)]
    label = None
    if options.num_classes:
        dropped = jax.random.bernoulli(key_drop, options.label_dropout, (n,))
        label = jnp.where(dropped, options.num_classes, batch_labels(batch, options.num_classes))
    return denoising_loss(
        lambda x, t: predict(p, params, x, t, label),
        p.path,
        x0,
        eps,
        check_output("time_density", options.time_density(key_time, p.path, n), (n,)),
        prediction=p.prediction,
        weighting=options.weighting,
        data_std=p.data_std,
    )


def with_dropout(
    key: Key[Array, ""], network: Any, p: Preconditioned
) -> tuple[Any, Preconditioned]:
    """For training: a key, and `p` with the dropout of a network that has some turned on."""
    if not getattr(network, "dropout", 0):
        return key, p
    key, key_dropout = jax.random.split(key)
    return key, p._replace(
        apply=partial(p.apply, deterministic=False, rngs={"dropout": key_dropout})
    )


@no_type_check
def diffusion(
    network, path: str | GaussianPath, optimizer: optax.GradientTransformation, **options
) -> GenerativeModel:
    """A diffusion model as a `GenerativeModel`; `options` are the fields of `Options`.

    Args:
      network: Flax module, `(x [B, *shape], noise [B], label [B] or None) -> [B, *shape]`; one with
        a field `dropout` above 0 takes `deterministic=False` in training.
      path: a `GaussianPath` or a name in PATHS.
    `sample` takes the arguments of `draw_samples`, `log_prob` those of `generate.log_prob`.
    Raises ConfigError for unknown names and values out of range.
    """
    settings = checked(Options(**options))
    check_classes("network", network, settings.num_classes)
    path = resolve_path(path)
    if settings.prediction in ("eps", "score") and float(path.alpha(jnp.ones(()))) == 0:
        raise ConfigError(
            f"prediction={settings.prediction!r} does not determine x0 at t = 1 of a path with "
            "alpha(1) = 0 "
            "(choose from: x0, v, velocity, F; or another path, such as vp)"
        )
    p = Preconditioned(
        network.apply, path, settings.prediction, settings.data_std, settings.noise_input
    )

    def step(key, state, batch):
        key, training = with_dropout(key, network, p)
        loss = lambda params: training_loss(params, key, batch, training, settings)
        return optimizer_step_with_ema(loss, optimizer, settings.ema_decay, state)

    model = GenerativeModel(
        init=lambda key, batch: init_state(key, network, optimizer, settings, batch),
        step=step,
        sample=partial(draw_samples, p, settings),
        log_prob=None if settings.source else partial(log_prob, p, settings),
        log_prob_kind="none" if settings.source else "estimate",
    )
    label = partial(checked_labels, num_classes=settings.num_classes)
    return compiled(
        model,
        per_sample={"label": label, "guidance": partial(one_or_each, "guidance")},
        shared=("guide_state",),
        encode=partial(to_model_floats, settings),
    )
