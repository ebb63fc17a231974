"""Training on a few images of an instance beside images that the model drew before (ruiz2023)."""

from typing import Any

import jax

from gen_jax.data_units import check_data
from gen_jax.diffusion.model import training_loss, with_dropout
from gen_jax.diffusion.options import Parts
from gen_jax.errors import ConfigError, DataError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.optimization import AveragedState, optimizer_step_with_ema
from gen_jax.types import Array, Batch, Key, Metrics


def with_prior_preservation(model: GenerativeModel, weight: float = 1.0) -> GenerativeModel:
    """The diffusion model trained on the mean loss of a batch, plus `weight` times that of images
    drawn from the model before, "prior_x" [P, ...] and their labels "prior_y" [P], or what else the
    model is conditioned on (ruiz2023 eq. 2).

    Each mean is over its own images, and is one of the metrics: "instance_loss" and "prior_loss".
    With weight 0 the drawn images are not needed. Raises ConfigError for a model of another family,
    and for a batch without drawn images or without what they were drawn for; `init` checks both.
    """
    check_range("weight", weight, 0)
    parts: Any = model.parts
    if not isinstance(parts, Parts):
        raise ConfigError("model must be one of gen_jax.diffusion")
    condition = parts.options.condition
    needed = {part.key for part in getattr(condition, "parts", (condition,)) if part is not None}

    def init(key: Key[Array, ""], batch: Batch) -> AveragedState:
        own, prior = _apart(batch)
        if weight and {"x", *needed} <= prior.keys():
            try:
                check_data(parts.options, prior["x"])
                if condition is not None:
                    condition.of_batch(prior)
            except DataError as error:
                raise DataError(f"drawn images ('prior_x', 'prior_y'): {error}") from error
        return model.init(key, own)

    def step(
        key: Key[Array, ""], state: AveragedState, batch: Batch
    ) -> tuple[AveragedState, Metrics]:
        key, network = with_dropout(key, parts)
        key_own, key_prior = jax.random.split(key)
        own, prior = _apart(batch)
        missing = sorted({"x", *needed} - prior.keys())
        if weight and missing:
            raise ConfigError(
                f"batch has no 'prior_{missing[0]}', of the images that the model drew before"
            )

        def loss(params: Any) -> tuple[Array, Metrics]:
            instance = training_loss(parts, network, params, key_own, own)[0].mean()
            if not weight:
                return instance, {"instance_loss": instance}
            kept = training_loss(parts, network, params, key_prior, prior)[0].mean()
            return instance + weight * kept, {"instance_loss": instance, "prior_loss": kept}

        return optimizer_step_with_ema(loss, parts.optimizer, parts.options.ema_decay, state)

    return model._replace(init=init, step=step)


def _apart(batch: Batch) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch without the drawn images, and that of the drawn images."""
    drawn = {name for name in batch if name.startswith("prior_")}
    own = {name: value for name, value in batch.items() if name not in drawn}
    return own, {name.removeprefix("prior_"): batch[name] for name in drawn}
