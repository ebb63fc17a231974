"""Sentences of a small vocabulary as tokens: what sets of images with captions hold."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.conditions import Captions, captions
from gen_jax.errors import ConfigError, DataError, check_text, shown
from gen_jax.types import Int


@dataclass(frozen=True)
class Sentences:
    """Sentences of at most `length` words; a token is the place of its word.

    Fields:
      words: all there are; the first, "", is the end of a sentence and stands behind it.
    """

    words: tuple[str, ...]
    length: int

    @classmethod
    def of(cls, words: Iterable[str], length: int) -> "Sentences":
        """Of these words, in the order of the alphabet."""
        return cls(("", *sorted(set(words) - {""})), length)

    @property
    def condition(self) -> Captions:
        """What a model of such sentences takes."""
        return captions(len(self.words), self.length)

    @no_type_check
    def encode(self, text: str) -> Int[np.ndarray, "T"]:
        """Tokens of a sentence. Raises DataError for unknown words, and for too many."""
        words = check_text("text", text).lower().replace(",", " , ").split()
        unknown = sorted(set(words) - set(self.words))
        if unknown:
            known = ", ".join(self.words[1:])
            raise DataError(f"caption {text!r} has unknown words {unknown} (known: {known})")
        if len(words) > self.length:
            raise DataError(f"caption {text!r} has {len(words)} words (at most {self.length})")
        tokens = [self.words.index(word) for word in words]
        return np.array(tokens + [0] * (self.length - len(tokens)), np.int32)

    @no_type_check
    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The sentence of tokens [T]. Raises DataError for what are none."""
        found = np.asarray(as_array("tokens", tokens))
        whole = found.ndim == 1 and np.issubdtype(found.dtype, np.integer)
        if not whole or ((found < 0) | (found >= len(self.words))).any():
            raise DataError(
                f"tokens are {shown(tokens)}, must be integers [L] from 0 to {len(self.words) - 1}"
            )
        return " ".join(self.words[token] for token in found if token)

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps({"words": self.words, "length": self.length})

    @classmethod
    def from_json(cls, line: str) -> "Sentences":
        """Inverse of `to_json`. Raises DataError when the data have no sentences."""
        try:
            values = json.loads(line)
            found = cls(tuple(map(str, values["words"])), int(values["length"]))
            captions(len(found.words), found.length)
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise DataError("the description of the data holds no sentences") from error
        return found
