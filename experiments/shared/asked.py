"""What the samples of a run are conditioned on, from a command's labels and prompt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.shared.pictures import balanced_labels
from experiments.shared.prompts import sentences_of
from experiments.shared.registry import Saved, find
from gen_jax.data import Vocabulary
from gen_jax.data.text import prompt_tokens
from gen_jax.errors import ConfigError, check_range


def labels_of(chosen: Sequence[int], saved: Saved, n: int) -> np.ndarray | None:
    """The labels of n samples: those chosen in turn, or all; None where the model takes none.

    Raises ConfigError for a label that the run's data do not have, or its model does not take.
    """
    spec = saved.spec
    for label in chosen:
        if not spec.num_classes:
            raise ConfigError(f"label={label} was given, but dataset {spec.name!r} has no labels")
        if "label" not in saved.model.conditions:
            raise ConfigError(f"label={label} is no option of a {saved.name!r} run")
        last = spec.num_classes - 1 + find(saved.name).more_labels
        check_range("label", label, 0, last, integer=True)
    if chosen:
        return np.resize(np.asarray(chosen, np.int32), n)
    every = balanced_labels(saved.model, spec, n)
    return None if every is None else np.asarray(every)


def prompt_of(prompt: str, saved: Saved) -> dict[str, Any]:
    """The option of the sampler. Raises ConfigError or DataError for text that does not fit."""
    if "caption" in saved.model.conditions:
        return {"caption": sentences_of(saved.spec).encode(prompt)}
    if saved.spec.kind != "text":
        raise ConfigError(
            f"prompt={prompt!r} was given to a run on {saved.spec.name!r}, whose model takes none"
        )
    vocabulary = Vocabulary.from_json(saved.spec.vocabulary)
    return {"prompt": prompt_tokens(vocabulary, prompt, saved.spec.shape[0])}


def condition_of(chosen: Sequence[int], prompt: str | None, saved: Saved, n: int) -> dict[str, Any]:
    """What n samples are conditioned on: the prompt, or labels. Raises ConfigError or DataError."""
    labels = labels_of(chosen, saved, n) if prompt is None or chosen else None
    if prompt is None:
        return {} if labels is None else {"label": labels}
    if labels is not None:
        raise ConfigError(f"prompt={prompt!r} and label: give one of them")
    return prompt_of(prompt, saved)
