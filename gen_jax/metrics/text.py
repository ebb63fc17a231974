"""How good are texts? Nats under a model of n-grams, and two numbers that show repetition."""

from typing import Any

import numpy as np

from gen_jax.checks import as_array, no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.types import Array, Float, Int

MOST = 2**31 - 1
"""The largest number of a token."""


def _as_tokens(argument: str, tokens: Any, highest: int = MOST) -> Int[np.ndarray, "N L"]:
    """Raises ConfigError for another shape, or for what are no whole numbers in [0, highest]."""
    x = np.asarray(as_array(argument, tokens))
    if x.ndim != 2 or x.size == 0:
        raise ConfigError(f"{argument} has shape {x.shape}; it must be [N, L], not empty")
    if not np.issubdtype(x.dtype, np.integer) or x.min() < 0 or x.max() > highest:
        raise ConfigError(
            f"{argument} of {x.dtype} in [{x.min()}, {x.max()}] must be whole numbers in "
            f"[0, {highest}]"
        )
    return x.astype(np.int64)


@no_type_check
def ngram_log_prob(
    training: Int[Array | np.ndarray, "N L"],
    tokens: Int[Array | np.ndarray, "M T"],
    size: int,
    order: int = 5,
) -> Float[np.ndarray, "M T"]:
    """log p in nats of each token given those before it, by n-grams counted in `training`.

    Witten-Bell smoothing (witten1991, method C), interpolated: a context h that was followed N
    times by T kinds of token gives p(w | h) = (count(hw) + T p(w | h')) / (N + T), where h' is h
    without its first token. The shortest context is empty, below it stands 1 / size; a context that
    was never followed leaves all to h'. The law of each token sums to 1 over the vocabulary.

    Args:
      training: rows are texts on their own; n-grams across two rows are not counted.
      tokens: rows as well; the first token has no context, the second one token, and so on.
      size: of the vocabulary; tokens are 0 .. size - 1.
      order: tokens of the longest n-gram, the last of which is predicted.
    """
    check_range("size", size, 1, MOST, integer=True)
    check_range("order", order, 1, integer=True)
    rows, x = _as_tokens("training", training, size - 1), _as_tokens("tokens", tokens, size - 1)
    p = np.full(x.shape, 1 / size)
    # The number of the context before each token; -1 for one that training does not have.
    contexts, context, asked = 1, np.zeros_like(rows), np.zeros_like(x)
    for n in range(min(order, rows.shape[1])):
        codes = context * size + rows[:, n:]
        grams, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
        total = np.bincount(grams // size, counts, contexts)
        kinds = np.bincount(grams // size, minlength=contexts)
        wanted = asked * size + x[:, n:]
        found = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
        seen = grams[found] == wanted
        known = (asked >= 0) & (kinds[asked] > 0)
        mixed = np.where(seen, counts[found], 0) + kinds[asked] * p[:, n:]
        p[:, n:] = np.where(known, mixed / np.maximum(total + kinds, 1)[asked], p[:, n:])
        contexts, context = len(grams), place.reshape(codes.shape)[:, :-1]
        asked = np.where(seen, found, -1)[:, :-1]
    return np.log(p)


@no_type_check
def token_entropy(tokens: Int[Array | np.ndarray, "N L"]) -> Float[np.ndarray, "N"]:
    """Entropy in bits of the shares of the tokens inside each text (zheng2024, there in nats).

    0 for one token repeated, log2 L where no token comes twice.
    """
    shares = [
        np.unique(row, return_counts=True)[1] / len(row) for row in _as_tokens("tokens", tokens)
    ]
    return np.array([-(share * np.log2(share)).sum() + 0.0 for share in shares])


@no_type_check
def distinct_ngrams(tokens: Int[Array | np.ndarray, "N L"], order: int = 4) -> float:
    """Kinds of n-grams over n-grams, in all texts together (li2016).

    It falls with N: compare it with that of as many real texts of the same length.

    Args:
      tokens: n-grams lie inside one row.
      order: tokens of an n-gram, at most L.
    """
    x = _as_tokens("tokens", tokens)
    check_range("order", order, 1, x.shape[1], integer=True)
    places = x.shape[1] - order + 1
    kinds, gram = np.zeros(1), np.zeros((len(x), places), np.int64)
    for i in range(order):
        codes = gram * (x.max() + 1) + x[:, i : i + places]
        kinds, gram = np.unique(codes, return_inverse=True)
        gram = gram.reshape(codes.shape)
    return len(kinds) / gram.size
