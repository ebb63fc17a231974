"""Text as windows of int32 tokens: characters, or byte pairs of a tokenizer trained on the text.

The last tenth of a text is "test". A `Vocabulary` turns text into tokens and back; a run keeps it
in its description of the data.
"""

import json
import os
import stat
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, DataError, check_range, check_text, shown
from gen_jax.optional import optional

PREFIX = "text:"
GENESIS = Path(__file__).with_name("texts") / "genesis.txt"
"""The first book of the King James Bible of 1611, in the public domain."""

WINDOW, STRIDE = 128, 16
"""Tokens of an example, and from one training example to the next; test examples do not overlap."""

MAX_BYTES = 2**28
"""Above this a text is refused before it is read: its windows take 32 times as much memory."""

SMALLEST_PAIRS, MOST_PAIRS = 257, 50_000


def _tokenizers() -> Any:
    return optional("tokenizers", "text", "byte pairs (text:PATH@VOCABULARY)")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens 0 .. size - 1.

    Fields:
      kind: "characters" or "byte_pairs".
      content: all characters in order, or the JSON of a tokenizer.
    """

    kind: str
    content: str

    @cached_property
    def _tokenizer(self) -> Any:
        return _tokenizers().Tokenizer.from_str(self.content)

    @property
    def size(self) -> int:
        """Number of tokens."""
        if self.kind == "characters":
            return len(self.content)
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Tokens int32 [T]. Raises DataError for characters that the vocabulary does not have."""
        if self.kind == "byte_pairs":
            return np.array(self._tokenizer.encode(text).ids, np.int32)
        index = {character: i for i, character in enumerate(self.content)}
        unknown = sorted(set(text) - index.keys())
        if unknown:
            shown = "".join(unknown[:10])
            raise DataError(f"text has characters outside the run's vocabulary: {shown!r}")
        return np.array([index[character] for character in text], np.int32)

    def decode(self, tokens: np.ndarray) -> str:
        """The text of tokens [T]. Raises DataError for tokens outside 0 .. size - 1."""
        tokens = np.asarray(tokens)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.size:
            raise DataError(f"tokens in [{tokens.min()}, {tokens.max()}] of {self.size} known ones")
        if self.kind == "characters":
            return "".join(self.content[token] for token in tokens)
        return self._tokenizer.decode(tokens.tolist())

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps({"kind": self.kind, "content": self.content})

    @classmethod
    def from_json(cls, line: str) -> "Vocabulary":
        """Inverse of `to_json`. Raises DataError when the data are no text."""
        try:
            values = json.loads(line)
            return cls(str(values["kind"]), str(values["content"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError("the description of the data holds no vocabulary") from error


def _check_text(text: Any) -> None:
    if not check_text("text", text):
        raise DataError("text is empty (allowed: at least one character)")


@no_type_check
def characters(text: str) -> Vocabulary:
    """One token per character of the text. Raises DataError for an empty one."""
    _check_text(text)
    return Vocabulary("characters", "".join(sorted(set(text))))


@no_type_check
def byte_pairs(text: str, size: int) -> Vocabulary:
    """`size` byte pairs learned from a text (sennrich2016), bytes first: every text has tokens.

    Raises ConfigError for a size from which the tokenizer cannot be learned.
    """
    _check_text(text)
    check_range("size", size, SMALLEST_PAIRS, MOST_PAIRS, integer=True)
    tokenizers = _tokenizers()
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(text.splitlines(keepends=True), size, show_progress=False)
    return Vocabulary("byte_pairs", made.to_str())


def parse(name: str) -> tuple[str, int | None]:
    """Split "text:PATH" or "text:PATH@VOCABULARY". Raises DataError without a PATH."""
    path = os.path.expanduser(name.removeprefix(PREFIX))
    if not path:
        raise DataError(f"dataset={name!r} names no file (expected text:PATH)")
    base, at, size = path.rpartition("@")
    if not at or os.path.isfile(path) or not (size.isascii() and size.isdigit()):
        return path, None
    low, high = SMALLEST_PAIRS, MOST_PAIRS
    check_range("VOCABULARY in text:PATH@VOCABULARY", int(size), low, high, integer=True)
    return base, int(size)


def _check_file(path: str) -> os.stat_result:
    """Its size and time. Raises DataError for no file, a device or a pipe, and one too large."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise DataError(f"text {path!r} does not exist or is not a file") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"text {path!r} does not exist or is not a file")
    if status.st_size > MAX_BYTES:
        raise DataError(f"text {path!r} has {status.st_size} bytes (at most {MAX_BYTES})")
    return status


def read_file(path: str) -> str:
    """A text file in UTF-8, without its byte-order mark.

    Raises DataError if it is missing, no file, too large or unreadable.
    """
    _check_file(path)
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DataError(f"text {path!r} cannot be read ({reason})") from error


@lru_cache(maxsize=4)
def _read(path: str, size: int | None, stamp: tuple) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    """The vocabulary and the tokens of both splits; `stamp` differs for a changed file."""
    text = read_file(path)
    border = len(text) * 9 // 10
    parts = {"train": text[:border], "test": text[border:]}
    vocabulary = characters(text) if size is None else byte_pairs(parts["train"], size)
    tokens = {split: vocabulary.encode(part) for split, part in parts.items()}
    for split, values in tokens.items():
        if len(values) < WINDOW:
            raise DataError(
                f"text {path!r} has {len(values)} tokens for {split!r}; {WINDOW} are needed"
            )
    return vocabulary, tokens


def _parts(path: str, size: int | None) -> tuple[Vocabulary, dict[str, np.ndarray]]:
    status = _check_file(path)
    return _read(os.path.abspath(path), size, (status.st_size, status.st_mtime_ns))


def vocabulary_of(path: str, size: int | None) -> Vocabulary:
    """The vocabulary of a text file: its characters, or `size` byte pairs of its training part."""
    return _parts(path, size)[0]


def read_windows(path: str, size: int | None, split: str) -> dict[str, np.ndarray]:
    """ "x" int32 [N, WINDOW]. Raises DataError for texts that are missing or too short."""
    tokens = _parts(path, size)[1][split]
    windows = np.lib.stride_tricks.sliding_window_view(tokens, WINDOW)
    return {"x": np.ascontiguousarray(windows[:: WINDOW if split == "test" else STRIDE])}


@no_type_check
def prompt_tokens(vocabulary: Vocabulary, prompt: str, context: int) -> np.ndarray:
    """Tokens of a prompt. Raises ConfigError when it fills the context, DataError as `encode`."""
    if not isinstance(vocabulary, Vocabulary):
        raise ConfigError(f"vocabulary={shown(vocabulary)} must be a Vocabulary")
    check_range("context", context, 1, integer=True)
    tokens = vocabulary.encode(check_text("prompt", prompt))
    if len(tokens) >= context:
        raise ConfigError(f"prompt of {len(tokens)} tokens is longer than the context, {context}")
    return tokens
