"""Images with captions, made from sets of digits: `captions:NAME`.

Half of the images have their strokes thickened, half are shown in black on white, and a sentence in
one of several word orders says so:

    a thick seven in black      this white two is thin

Captions are int32 tokens [N, LENGTH], 0 behind the end; the draw is part of the dataset (seed 0).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gen_jax.checks import no_type_check
from gen_jax.data.pairs import thicken
from gen_jax.data.sentences import Sentences
from gen_jax.errors import ConfigError, check_flag, check_range
from gen_jax.types import Int, UInt8

PREFIX = "captions:"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NOT_DIGITS = ("fashion_mnist", "kmnist", "cifar10")
"""Named sets of ten classes that a sentence about a digit says nothing true of."""
STROKES = ("thin", "thick")
INKS = ("white", "black")
TEMPLATES = (
    "a {stroke} {digit} in {ink}",
    "a {digit} in {ink} with {stroke} strokes",
    "this {ink} {digit} is {stroke}",
    "{stroke} and {ink} , the digit {digit}",
)
"""Every sentence names all three; the order of the words differs."""


@no_type_check
def sentence(digit: int, thick: int, black: int, template: int = 0) -> str:
    """What is said of an image. Raises ConfigError for numbers out of range."""
    given = {"digit": digit, "thick": thick, "black": black, "template": template}
    for (name, value), choices in zip(given.items(), (DIGITS, STROKES, INKS, TEMPLATES)):
        check_range(name, value, 0, len(choices) - 1, integer=True)
    words = {"digit": DIGITS[digit], "stroke": STROKES[thick], "ink": INKS[black]}
    return TEMPLATES[template].format(**words)


SENTENCES = Sentences.of(
    {*DIGITS, *STROKES, *INKS, *(w for t in TEMPLATES for w in t.split() if "{" not in w)}, 8
)
WORDS, LENGTH = SENTENCES.words, SENTENCES.length


@no_type_check
def encode(text: str) -> Int[np.ndarray, "LENGTH"]:
    """As `Sentences.encode`."""
    return SENTENCES.encode(text)


@no_type_check
def decode(tokens: Sequence[int] | np.ndarray) -> str:
    """As `Sentences.decode`."""
    return SENTENCES.decode(tokens)


@no_type_check
def prompts(every: bool = True) -> Int[np.ndarray, "K M LENGTH"]:
    """All sentences of each digit; or only the one of the images as they were, which comes first:
    "a thin DIGIT in white".
    """
    check_flag("every", every)
    kinds = [(t, b, k) for k in range(len(TEMPLATES)) for t in (0, 1) for b in (0, 1)]
    chosen = kinds if every else kinds[:1]
    digits = range(len(DIGITS))
    return np.stack([[encode(sentence(digit, *kind)) for kind in chosen] for digit in digits])


def render(
    x: UInt8[np.ndarray, "N H W 1"], thick: Int[np.ndarray, "N"], black: Int[np.ndarray, "N"]
) -> UInt8[np.ndarray, "N H W 1"]:
    """Images with thickened strokes, and in black on white, where the flags say so."""
    x = np.where(thick.astype(bool)[:, None, None, None], thicken(x), x)
    return np.where(black.astype(bool)[:, None, None, None], 255 - x, x)


def are_digits(name: str, num_classes: int | None) -> bool:
    """Whether the labels of a set, by its name and number of classes, are those of digits."""
    return num_classes == len(DIGITS) and name.rpartition(":")[2] not in NOT_DIGITS


def make(arrays: Mapping[str, np.ndarray], stream: int) -> dict[str, np.ndarray]:
    """Images, labels "y", tokens "caption", and the flags "thick" and "black" [N].

    Args:
      stream: differs between the splits.
    Raises ConfigError for sets that are not digits in grey.
    """
    x, y = arrays["x"], arrays.get("y")
    if x.ndim != 4 or x.shape[-1] != 1 or y is None or y.max() >= len(DIGITS):
        raise ConfigError("captions:NAME needs a set of grey digits, with their labels")
    rng = np.random.default_rng((0, stream))
    thick, black = rng.integers(0, 2, (2, len(x)), np.int32)
    template = rng.integers(0, len(TEMPLATES), len(x))
    rows = np.stack([y, thick, black, template], 1).tolist()
    captions = np.stack([encode(sentence(*row)) for row in rows])
    flags = {"thick": thick, "black": black}
    return {"x": render(x, thick, black), "y": y, "caption": captions, **flags}
