"""From logits to tokens, and the one loop that generates every autoregressive model's samples.

A token is drawn from softmax(logits / temperature) restricted to a set: all tokens, the k most
probable (fan2018), or the nucleus, the fewest most probable whose sum reaches p (holtzman2020).
Equal logits rank by their index, so that the sets are exactly these sizes. Temperature 0 is greedy.
Guidance extrapolates the logits from those without the condition, place by place.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import check_finite, check_range
from gen_jax.randomness import fold_in
from gen_jax.sampling.categorical import tempered
from gen_jax.types import Array, Float, Int, Key, Num


class Decoding(NamedTuple):
    """How values are chosen; the defaults draw from the model itself (ancestral sampling).

    Fields:
      temperature: divides logits and scales noise; 0 takes the most probable token, or the mean.
      top_k: tokens kept, or None for all.
      top_p: probability kept, in (0, 1], after top_k.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0


ANCESTRAL = Decoding()
LEAST = -1e9
"""Logits of values that one of two guided decoders excludes."""


def checked(decoding: Decoding) -> Decoding:
    """The same; raises ConfigError for values out of range."""
    check_finite("temperature", check_range("temperature", decoding.temperature, 0))
    if decoding.top_k is not None:
        check_range("top_k", decoding.top_k, 1, integer=True)
    check_range("top_p", decoding.top_p, 0, 1, open_low=True)
    return decoding


def ranks(logits: Float[Array, "V"]) -> Int[Array, "V"]:
    """0 for the largest, equal ones by their index."""
    return jnp.argsort(jnp.argsort(-logits, stable=True))


def keep_top_k(logits: Float[Array, "V"], k: int) -> Float[Array, "V"]:
    """-inf but for the k largest (all, if there are no more)."""
    return jnp.where(ranks(logits) < k, logits, -jnp.inf)


def keep_nucleus(logits: Float[Array, "V"], p: float) -> Float[Array, "V"]:
    """-inf but for the smallest set of the most probable with total probability >= p."""
    order = jnp.argsort(-logits, stable=True)
    sorted_probabilities = jax.nn.softmax(logits)[order]
    before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(sorted_probabilities)[:-1]])
    kept = (before < p).at[0].set(True)
    return jnp.where(kept[jnp.argsort(order)], logits, -jnp.inf)


def draw(key: Key[Array, ""], logits: Float[Array, "V"], decoding: Decoding) -> Int[Array, ""]:
    """One token."""
    if decoding.temperature == 0:
        return jnp.argmax(logits)
    # Sums of probabilities, and the noise that chooses, need more digits than half precision has.
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    logits = tempered(logits, decoding.temperature)
    if decoding.top_k is not None:
        logits = keep_top_k(logits, decoding.top_k)
    if decoding.top_p < 1:
        logits = keep_nucleus(logits, decoding.top_p)
    return jax.random.categorical(key, logits)


class Decoder(NamedTuple):
    """A model that generates: its places in order, each from the values before it.

    Fields:
      start: `(batch) -> cache`.
      step: `(cache, index, previous [B, E]) -> (raw [B, P], cache)`; what the likelihood needs at
        place `index`, when place index - 1 was given the value `previous` (any, at index 0).
      prepare: `(cache, index, previous) -> cache` before each block of places (a row), or None.
      block: places per block; divides their number.
    """

    start: Callable[[int], Any]
    step: Callable[[Any, Array, Array], tuple[Array, Any]]
    prepare: Callable[[Any, Array, Array], Any] | None = None
    block: int | None = None


def guided(decoder: Decoder, plain: Decoder, weight: float | Float[Array, "B"]) -> Decoder:
    """Classifier-free guidance of logits: at each place p_w proportional to p^w p_plain^(1 - w).

    What has probability 0 in both keeps it. Both decoders have the same places.
    """
    both = (decoder, plain)

    def start(batch):
        return tuple(each.start(batch) for each in both)

    def step(caches, index, previous):
        pairs = [each.step(cache, index, previous) for each, cache in zip(both, caches)]
        (a, b), kept = zip(*pairs)
        a, b = (raw.astype(jnp.promote_types(raw.dtype, jnp.float32)) for raw in (a, b))
        w = jnp.broadcast_to(jnp.asarray(weight, a.dtype), a.shape[:1])[:, None]
        moved = w * jnp.maximum(a, LEAST) + (1 - w) * jnp.maximum(b, LEAST)
        return jnp.where(jnp.isneginf(a) & jnp.isneginf(b), -jnp.inf, moved), kept

    def prepare(caches, index, previous):
        steps: Any = [each.prepare for each in both]
        return tuple(one(cache, index, previous) for one, cache in zip(steps, caches))

    return Decoder(start, step, decoder.prepare and prepare, decoder.block)


def generate(
    keys: Key[Array, "B"],
    decoder: Decoder,
    sample: Callable[[Array, Array, Decoding], Array],
    num: int,
    event: int,
    decoding: Decoding,
    prompt: Num[Array, "B L E"] | None = None,
    dtype: Any = jnp.float32,
) -> Num[Array, "B N E"]:
    """N = `num` values in the decoder's order, in one compiled loop.

    Args:
      sample: a likelihood's, `(key, raw [P], decoding) -> value [event]`.
      prompt: values of the first L places, kept as they are.
    Place i of a sample draws from its key with i folded in.
    """
    batch = keys.shape[0]
    given = jnp.zeros((batch, 0, event), dtype) if prompt is None else prompt.astype(dtype)
    length = given.shape[1]
    given = jnp.pad(given, ((0, 0), (0, num - length), (0, 0)))

    def place(carry, index):
        cache, previous = carry
        raw, cache = decoder.step(cache, index, previous)
        drawn = jax.vmap(lambda key, raw: sample(key, raw, decoding))(fold_in(keys, index), raw)
        value = jnp.where(index < length, given[:, index], drawn.astype(dtype))
        return (cache, value), value

    def block(carry, indices):
        if decoder.prepare is not None:
            carry = decoder.prepare(carry[0], indices[0], carry[1]), carry[1]
        return jax.lax.scan(place, carry, indices)

    start = decoder.start(batch), jnp.zeros((batch, event), dtype)
    indices = jnp.arange(num).reshape(-1, decoder.block or num)
    values = jax.lax.scan(block, start, indices)[1]
    return values.reshape(num, batch, event).swapaxes(0, 1)
