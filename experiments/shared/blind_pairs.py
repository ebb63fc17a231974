"""Blind pairs of a real and a generated example on one page, and the score of a reader's choices.

The page holds which side is generated as bits masked by a stream of SHA-256 of a salt, and a digest
of them. It never unmasks them: `score` does. That hides the answers from a reader's eye, not from
one who wants to compute them.
"""

import base64
import hashlib
import html
import io
import json
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gen_jax import metrics
from gen_jax.data import DatasetSpec, Vocabulary
from gen_jax.errors import DataError
from gen_jax.training.files import read_json
from gen_jax.writing import write_text

FORMAT = "gen_jax blind pairs 1"
TEMPLATE = Path(__file__).with_name("blind_pairs.html")


def _stream(salt: str, n: int) -> np.ndarray:
    blocks = [hashlib.sha256(f"{salt}:{i}".encode()).digest() for i in range(-(-n // 256))]
    return np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[:n]


def _digest(salt: str, sides: np.ndarray) -> str:
    return hashlib.sha256(f"{salt}:{sides.astype(np.uint8).tolist()}".encode()).hexdigest()


def mask(sides: np.ndarray, salt: str) -> dict[str, str]:
    """The generated side of each pair (0 left, 1 right) [N] as the page keeps it."""
    bits = np.packbits(sides.astype(np.uint8) ^ _stream(salt, len(sides)))
    return {"salt": salt, "key": bits.tobytes().hex(), "digest": _digest(salt, sides)}


def unmask(stored: dict[str, Any], n: int) -> np.ndarray:
    """The generated side of each of n pairs. Raises DataError for what `mask` did not write."""
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(stored["key"]), np.uint8))
        sides = bits[:n] ^ _stream(stored["salt"], n)
        whole = _digest(stored["salt"], sides) == stored["digest"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"the choices have no answers of this page ({error})") from error
    if not whole:
        raise DataError("the answers of the choices are damaged: their digest differs")
    return sides


def _shown(spec: DatasetSpec, x: np.ndarray) -> str:
    """One example as HTML that needs nothing else."""
    if spec.kind == "text":
        text = Vocabulary.from_json(spec.vocabulary).decode(x)
        return f"<pre>{html.escape(text)}</pre>"
    buffer = io.BytesIO()
    Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x).save(buffer, "PNG")
    return (
        f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    )


def write_page(
    path: Path, spec: DatasetSpec, real: np.ndarray, generated: np.ndarray, title: str
) -> Path:
    """The page of N pairs; the sides are drawn by a fair coin that no seed gives away."""
    sides, salt = np.array([secrets.randbits(1) for _ in real]), secrets.token_hex(16)
    pairs = [
        [_shown(spec, r), _shown(spec, g)][:: -1 if side == 0 else 1]
        for r, g, side in zip(real, generated, sides)
    ]
    stored = {"format": FORMAT, "title": title, "pairs": len(pairs), **mask(sides, salt)}
    # "</" would end the script of the page.
    as_script = lambda value: json.dumps(value).replace("</", "<\\/")
    filled = {"TITLE": html.escape(title), "STORED": as_script(stored), "PAIRS": as_script(pairs)}
    page = TEMPLATE.read_text(encoding="utf-8")
    write_text(path, re.sub(r"__([A-Z]+)__", lambda m: filled[m[1]], page))
    return path


def read_choices(path: Path) -> dict[str, Any]:
    """What the page saved. Raises DataError for any other file."""
    try:
        stored = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"choices {str(path)!r} cannot be read ({error})") from error
    choices = stored.get("choices") if isinstance(stored, dict) else None
    if not isinstance(choices, list) or stored.get("format") != FORMAT:
        raise DataError(f"choices {str(path)!r} were not saved by a page of experiments.human")
    made = all(type(choice) is int and choice in (0, 1) for choice in choices if choice is not None)
    if len(choices) != stored.get("pairs") or not made:
        raise DataError(f"choices {str(path)!r} must hold 0, 1 or null for each pair")
    return stored


def score(stored: dict[str, Any], confidence: float = 0.95) -> dict[str, Any]:
    """How often the generated side was found, with both intervals, and whether it could be luck.

    Pairs without a choice are left out. Raises DataError where there is none.
    """
    sides = unmask(stored, len(stored["choices"]))
    made = [(choice, side) for choice, side in zip(stored["choices"], sides) if choice is not None]
    if not made:
        raise DataError("no pair has a choice")
    right, n = sum(int(choice == side) for choice, side in made), len(made)
    interval = lambda method: [*metrics.proportion_interval(right, n, confidence, method)]
    return {
        "pairs": stored["pairs"],
        "choices": n,
        "right": right,
        "rate": right / n,
        "clopper_pearson": interval("exact"),
        "wilson": interval("wilson"),
        "p_value_of_guessing": metrics.binomial_tail(right, n),
    }
