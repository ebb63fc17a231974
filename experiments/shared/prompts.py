"""A model of sentences that is also sampled by labels, each of which stands for some sentences."""

import inspect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from experiments.shared.bases import on_batches
from gen_jax.conditions import Captions, labels
from gen_jax.data import DatasetSpec, Sentences, captions
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, compiled, sampler_of
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.types import Array, Batch, Int, Key


def sentences_of(spec: DatasetSpec) -> Sentences:
    """The words of a model of captions: those of the digits where the set itself has none."""
    return spec.sentences or captions.SENTENCES


def with_captions(prompts: Int[Any, "K M T"], batch: Batch) -> Batch:
    """The batch, its examples under the first sentence of their label where it has no captions."""
    if "caption" in batch:
        return batch
    if "y" not in batch:
        raise ConfigError("a model of sentences needs data with captions, or with labels")
    label = labels(len(prompts)).of_batch(batch)
    return {**batch, "caption": jnp.asarray(prompts, jnp.int32)[label, 0]}


def sentences(
    prompts: Int[Any, "K M T"], keys: Key[Array, "n"], label: Int[Array, "n"] | None
) -> Int[Array, "n T"]:
    """One of the label's sentences for each sample; labels are drawn if not given."""
    if label is None:
        label = labels(len(prompts)).draw(fold_in(keys, 1))
    pick = lambda key: jax.random.randint(key, (), 0, len(prompts[0]))
    return jnp.asarray(prompts, jnp.int32)[label, jax.vmap(pick)(fold_in(keys, 2))]


def prompted(
    model: GenerativeModel, condition: Captions, prompts: Int[Any, "K M T"]
) -> GenerativeModel:
    """The model whose `sample` also takes labels, or draws them, in place of sentences.

    Args:
      prompts: M sentences of each of K labels. Of data without captions the first is taken.
    """

    def sample(key, state, n, *, label=None, caption=None, **options):
        if label is not None and caption is not None:
            raise ConfigError("give a label or a caption, not both")
        keys = sample_keys(key, n)
        caption = sentences(prompts, keys, label) if caption is None else caption
        return sampler_of(model)(keys, state, n, caption=caption, **options)

    own, inner = (inspect.signature(f).parameters for f in (sample, sampler_of(model)))
    named = {name: p for name, p in inner.items() if name not in own}
    both = [p for p in own.values() if p.kind is not p.VAR_KEYWORD] + [*named.values()]
    sample.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]
    wrapped = on_batches(model, partial(with_captions, prompts))._replace(
        sample=sample,
        conditions={name: model.conditions[name] for name in named},
    )
    checks = condition.checks | labels(len(prompts)).checks
    return compiled(wrapped, per_sample=checks)


def check_captioned(spec: DatasetSpec) -> Sentences:
    """`sentences_of` images with captions, or of digits, whose labels stand for sentences.

    Raises ConfigError for data with neither.
    """
    digits = spec.kind == "images" and captions.are_digits(spec.name, spec.num_classes)
    if spec.sentences is None and not digits:
        raise ConfigError(f"dataset={spec.name!r} has neither captions nor digits")
    return sentences_of(spec)


def prompted_by_labels(model: GenerativeModel, spec: DatasetSpec) -> GenerativeModel:
    """The model itself on data with captions; on digits without, labels stand for sentences."""
    if spec.sentences is not None:
        return model
    return prompted(model, captions.SENTENCES.condition, captions.prompts(every=False))
