"""Whether images are what their captions say: counted, and as a picture."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import metrics, plotting
from gen_jax.data import DatasetSpec, captions, shapes
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.types import Estimate, State

Arrays = Mapping[str, np.ndarray]


class Subject(NamedTuple):
    """What can be asked of models of a captioned set, and how their images are judged.

    Fields:
      asked: `n -> arrays`: n captions in turn, and what they say.
      judge: `(name of the set, images, arrays as asked, test set) -> shares that are as asked`.
      picture: captions [R, n, T], and R lines of text, of the rows of a picture.
      unseen: as `asked`, of what the training set has no example of; or None.
    """

    asked: Callable[[int], dict[str, np.ndarray]]
    judge: Callable[[str, np.ndarray, Arrays, Arrays], dict[str, Estimate]]
    picture: Callable[[], tuple[np.ndarray, list[str]]]
    unseen: Callable[[int], dict[str, np.ndarray]] | None = None


KINDS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(thick, black) of the rows of the picture."""


def asked(n: int) -> dict[str, np.ndarray]:
    """n captions in turn, all digits of all kinds, in every order of words."""
    templates = range(len(captions.TEMPLATES))
    rows = [(d, t, b, k) for k in templates for t, b in KINDS for d in range(10)]
    every = np.array(rows)[np.arange(n) % len(rows)]
    tokens = [captions.encode(captions.sentence(*row)) for row in every.tolist()]
    flags = {"y": every[:, 0], "thick": every[:, 1], "black": every[:, 2]}
    return {**flags, "caption": np.stack(tokens)}


def in_white(x: np.ndarray, black: np.ndarray) -> np.ndarray:
    """Images [N, H, W, 1] in white on black, those of black ink turned round."""
    return np.where(black.astype(bool)[:, None, None, None], 255 - x, x)


def digits_as_asked(name: str, x: np.ndarray, wanted: Arrays, test: Arrays) -> dict[str, Estimate]:
    """Shares of images with the wanted digit, ink and strokes; none for sets without classifier.

    The corners decide the ink, the total ink decides the strokes: nearer to the mean of the digit's
    thick or thin test images. Digits are read where strokes are to be thin, as in the images that
    the classifier was trained on.
    """
    try:
        classifier = metrics.load_classifier(name.removeprefix(captions.PREFIX))
    except ConfigError:
        return {}
    plain, known = in_white(x, wanted["black"]), in_white(test["x"], test["black"])
    ink = lambda x: x.mean((1, 2, 3))
    of = lambda digit, thick: ink(known[(test["y"] == digit) & (test["thick"] == thick)]).mean()
    middle = np.array([(of(digit, 0) + of(digit, 1)) / 2 for digit in range(10)])
    thin = wanted["thick"] == 0
    right = {
        "digit": classifier.predict(plain[thin]) == wanted["y"][thin],
        "ink": (x[:, :: x.shape[1] - 1, :: x.shape[2] - 1].mean((1, 2, 3)) > 127.5)
        == wanted["black"],
        "strokes": (ink(plain) > middle[wanted["y"]]) == wanted["thick"],
    }
    return {name: metrics.mean_and_error(value.astype(float)) for name, value in right.items()}


def shapes_as_asked(name: str, x: np.ndarray, wanted: Arrays, test: Arrays) -> dict[str, Estimate]:
    """Shares of scenes with both sizes, colours and shapes as wanted, the relation, and all of
    these."""
    right = shapes.attributes(x) == shapes.canonical(wanted["scene"])
    places = {word: [i, i + 4] for i, word in enumerate(shapes.ATTRIBUTES)} | {"relation": [3]}
    found = {word: right[:, at].all(1) for word, at in places.items()} | {"all": right.all(1)}
    return {name: metrics.mean_and_error(value.astype(float)) for name, value in found.items()}


def four_kinds() -> tuple[np.ndarray, list[str]]:
    """Every digit of the four kinds, a row each."""
    lines = [captions.sentence(7, *kind).replace("seven", "..") for kind in KINDS]
    return asked(10 * len(KINDS))["caption"].reshape(len(KINDS), 10, -1), lines


def scenes(n: int, held_out: bool = False) -> dict[str, np.ndarray]:
    """n scenes and their captions."""
    rows = shapes.scenes(n, 2, held_out=held_out)
    return {"scene": rows, "caption": shapes.tokens(rows)}


def ten_scenes() -> tuple[np.ndarray, list[str]]:
    """Five scenes and five that hold what is not in the data, eight times each."""
    rows = np.concatenate([scenes(5, held_out)["caption"] for held_out in (False, True)])
    return np.repeat(rows[:, None], 8, 1), [shapes.SENTENCES.decode(row) for row in rows]


SUBJECTS = {
    captions.PREFIX: Subject(asked, digits_as_asked, four_kinds),
    "shapes": Subject(scenes, shapes_as_asked, ten_scenes, partial(scenes, held_out=True)),
}
"""By the beginning of a set's name."""


def subject_of(dataset: str) -> Subject | None:
    """What can be asked of models of this set."""
    return next((s for start, s in SUBJECTS.items() if dataset.startswith(start)), None)


def measure(
    dataset: str, samples: np.ndarray, test: Arrays, draw: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Estimate]:
    """How often samples of captions in turn are as asked, and test images as their captions say;
    nothing for sets without captions.

    Args:
      draw: `captions [n, T] -> images`, for those that the training set has no example of.
    """
    subject, n = subject_of(dataset), len(samples)
    if subject is None:
        return {}
    judged = {"": (samples, subject.asked(n)), "_real": (test["x"], test)}
    if subject.unseen is not None:
        wanted = subject.unseen(n)
        judged["_unseen"] = draw(wanted["caption"]), wanted
    return {
        f"{word}_as_asked{kind}": share
        for kind, (x, wanted) in judged.items()
        for word, share in subject.judge(dataset, x, wanted, test).items()
    }


def caption_picture(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Rows of samples with what was asked for; of digits without captions the sentences of
    digits."""
    tokens, lines = (subject_of(spec.name) or SUBJECTS[captions.PREFIX]).picture()
    flat = jnp.asarray(tokens.reshape(-1, tokens.shape[-1]))
    x = np.asarray(model.sample(jax.random.key(0), state, len(flat), caption=flat))
    grid = plotting.label_rows(plotting.image_grid(x, tokens.shape[1]), lines)
    return plotting.save_image(directory / "samples" / "captions.png", grid)


def picture_of(dataset: str) -> Callable[[Path, GenerativeModel, DatasetSpec, State], Path] | None:
    """`caption_picture` for sets with captions."""
    return caption_picture if subject_of(dataset) else None
