"""Text to image by tokens: one transformer over a sentence and an image's codes (ramesh2021).

    x = [w_1 .. w_T, end, c_1 .. c_N],   log p(x) = log p(w) + log p(c | w)

Each place has its legal tokens, the others have probability 0: words in a sentence, only the end
behind its last word, codes behind that. So the probabilities of all sentences sum to 1, and those
of all codes given any sentence. What stands behind a sentence is never attended to.
"""

from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.autoregressive.decoding import Decoder, Decoding, checked, guided
from gen_jax.autoregressive.factorisation import Factorisation
from gen_jax.autoregressive.likelihoods import categorical
from gen_jax.autoregressive.model import autoregressive, decoder_of, in_order
from gen_jax.checks import as_array, is_known, no_type_check, one_or_each
from gen_jax.condition_values import is_guided, null_or_needed, value_of
from gen_jax.conditions import Captions, captions
from gen_jax.errors import DataError
from gen_jax.frozen import parts_of
from gen_jax.model import GenerativeModel, assemble, compiled
from gen_jax.nets import Transformer
from gen_jax.nets.cached_attention import attention_at, empty_cache
from gen_jax.nets.transformer import shifted
from gen_jax.optimization import AveragedState
from gen_jax.randomness import sample_keys
from gen_jax.ranges import Count, Range, Share, Weight, check_ranges, options_from
from gen_jax.types import Array, Batch, Bool, Float, Int, Key, Metrics, State


class TextOptions(NamedTuple):
    """How a model of codes given a sentence is made.

    Fields:
      caption_length, words: T, and tokens 0 .. words - 1, of which 0 is the end.
      num_codes, codes: N of an image, and their values 0 .. codes - 1.
      text_weight: of log p(w) in the loss (1/8 in ramesh2021); log p(c | w) has 1.
      condition_dropout: share of the sentences that are empty in training.
      ema_decay: of the parameters' moving average, which samples; smaller in the first steps.
      dropout: of the transformer.
    """

    caption_length: Count
    words: Annotated[int, Range(2)]
    num_codes: Count
    codes: Annotated[int, Range(2)]
    text_weight: Weight = 1 / 8
    condition_dropout: Share = 0.1
    ema_decay: Share = 0.999
    dropout: Share = 0.0

    @property
    def codes_from(self) -> int:
        """T + 1, the place of the first code."""
        return self.caption_length + 1

    @property
    def length(self) -> int:
        """T + 1 + N places."""
        return self.codes_from + self.num_codes

    @property
    def vocabulary(self) -> int:
        """Words, then codes."""
        return self.words + self.codes

    def ends(self, tokens: Int[Array, "B L"], first: Any = 0) -> Bool[Array, "B L"]:
        """Where the token that enters, from place `first` on, is what stands behind a sentence."""
        place = first + jnp.arange(tokens.shape[1])
        return (tokens == 0) & (place > 0) & (place <= self.caption_length)

    def legal(
        self, logits: Float[Array, "B L V"], entered: Int[Array, "B L"], first: Any = 0
    ) -> Float[Array, "B L V"]:
        """The logits with -inf where a token cannot stand behind the one that entered."""
        place, token = first + jnp.arange(logits.shape[1]), jnp.arange(self.vocabulary)
        text = place < self.caption_length
        over = self.ends(entered, first) | (place == self.caption_length)
        known = jnp.where(text[:, None], token < self.words, token >= self.words)
        allowed = jnp.where(over[..., None], token == 0, known)
        return jnp.where(allowed, logits, -jnp.inf)


class TextParts(NamedTuple):
    """What a model of codes given a sentence is made of: its options, the model of the whole."""

    options: TextOptions
    whole: GenerativeModel
    condition: Captions

    def sequence(self, caption: Int[Array, "B T"], codes: Any) -> Int[Array, "B L"]:
        """x of sentences and codes. Raises DataError for codes out of range."""
        end = jnp.zeros((len(caption), 1), jnp.int32)
        codes = self.options.words + self.checked(codes)
        return jnp.concatenate([_packed(caption), end, codes], 1)

    def checked(self, codes: Any) -> Int[Array, "B N"]:
        """Codes [B, N]. Raises DataError for others."""
        found, options = as_array("codes", codes), self.options
        whole = jnp.issubdtype(found.dtype, jnp.integer)
        if not whole or found.ndim != 2 or found.shape[1] != options.num_codes:
            raise DataError(
                f"codes are {found.dtype} {list(found.shape)}, must be integers "
                f"[B, {options.num_codes}]"
            )
        if is_known(found) and found.size:
            low, high = int(np.asarray(found).min()), int(np.asarray(found).max())
            if low < 0 or high >= options.codes:
                raise DataError(f"codes in [{low}, {high}] must be in [0, {options.codes - 1}]")
        return jnp.asarray(found, jnp.int32)


def _packed(caption: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Nothing behind the first 0: there no word can stand."""
    return jnp.where(jnp.cumprod(caption != 0, axis=1), caption, 0)


def factorise(network: Transformer, options: TextOptions) -> Factorisation:
    """A transformer over a sentence and codes, with the tokens that are legal at each place."""

    def raw(params, u, condition, k, **training):
        entered = shifted(u[..., 0], network.vocabulary)
        seen = ~options.ends(entered)[:, None, None, :] & jnp.tri(options.length, dtype=bool)
        attend = partial(jax.nn.dot_product_attention, mask=seen)
        logits: Any = network.apply(params, entered, attention=lambda name: attend, **training)
        return options.legal(logits, entered)

    def init(key, condition):
        return network.init(key, jnp.zeros((1, options.length), jnp.int32))

    def decoder(params, condition, k):
        def start(batch):
            seen = jnp.ones((batch, options.length), bool)
            return empty_cache(network, batch, options.length, params), seen

        def step(cache, index, previous):
            entered = jnp.where(index > 0, previous, network.vocabulary)
            seen = jax.lax.dynamic_update_slice_in_dim(
                cache[1], ~options.ends(entered, index), index, 1
            )
            attention, kept = attention_at(index, cache[0], seen)
            logits: Any = network.apply(params, entered, first=index, attention=attention)
            return options.legal(logits, entered, index)[:, 0], (kept, seen)

        return Decoder(start, step)

    return Factorisation(init, raw, np.arange(options.length)[None], decoder)


def step(
    parts: TextParts, key: Key[Array, ""], state: AveragedState, batch: Batch
) -> tuple[AveragedState, Metrics]:
    """One update on text_weight (- log p(w)) - log p(c | w), some sentences being empty."""
    options = parts.options
    key_hide, key_step = jax.random.split(key)
    caption = parts.condition.of_batch(batch)
    hidden = jax.random.bernoulli(key_hide, options.condition_dropout, (len(caption),))
    x = parts.sequence(parts.condition.hide(caption, hidden), batch["x"])
    return parts.whole.step(key_step, state, {"x": x})


def init_state(parts: TextParts, key: Key[Array, ""], batch: Batch) -> AveragedState:
    """Fresh state; raises ConfigError or DataError when the batch does not fit."""
    x = parts.sequence(parts.condition.of_batch(batch), batch["x"])
    return parts.whole.init(key, {"x": x})


def _sentence(parts: TextParts, caption: Any, n: int) -> Int[Array, "n T"]:
    """The sentence, or the empty one where training had some of these."""
    value = value_of(parts.condition, {"caption": caption}, n)
    return null_or_needed(parts.condition, parts.options.condition_dropout, value, n)


def draw_samples(
    parts: TextParts,
    key: Key[Array, "*batch"],
    state: AveragedState,
    n: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    guidance: float | Array = 1.0,
    cached: bool = True,
    caption: Any = None,
) -> Int[Array, "n N"]:
    """Codes [n, N] of p(c | w); options but `caption` are those of every autoregressive model.

    Guidance extrapolates from the codes of the empty sentence.
    """
    options, decoding = parts.options, checked(Decoding(temperature, top_k, top_p))
    prompt = jnp.pad(_packed(_sentence(parts, caption, n)), ((0, 0), (0, 1)))
    decoder = decoder_of(parts.whole.parts, state.ema, None, cached=cached)
    if is_guided(guidance, parts.condition, options.condition_dropout, caption):
        decoder = guided(decoder, _without_sentence(options, decoder), guidance)
    x = in_order(parts.whole.parts, sample_keys(key, n), decoder, decoding, prompt)
    return x[:, options.codes_from :, 0] - options.words


def _without_sentence(options: TextOptions, decoder: Decoder) -> Decoder:
    """The decoder to which only the codes are given, behind the empty sentence."""

    def step(cache, index, previous):
        return decoder.step(cache, index, jnp.where(index <= options.codes_from, 0, previous))

    return decoder._replace(step=step)


def _log_probs(
    parts: TextParts, state: AveragedState, caption: Int[Array, "B T"], codes: Any
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    x = parts.sequence(caption, codes)
    units = parts.whole.parts.log_units(state.ema, x[..., None], None, 0)
    text = parts.options.caption_length
    return units[:, :text].sum(1), units[:, text:].sum(1)


def log_prob(
    parts: TextParts, key: Any, state: AveragedState, x: Any, *, caption: Any = None
) -> Float[Array, "B"]:
    """log p(c | w) [B] in nats, exact; w is empty where none is given."""
    return _log_probs(parts, state, _sentence(parts, caption, len(x)), x)[1]


@no_type_check
def text_and_code_log_probs(
    model: GenerativeModel, state: State, caption: Any, codes: Any
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """log p(w) and log p(c | w), [B] each, in nats and exact, of a model of `text_to_codes`.

    Args:
      caption: tokens [T] or [B, T]; codes: [B, N].
    Raises ConfigError or DataError for a model of another family and for what does not fit.
    """
    parts, own = parts_of(model, state, TextParts)
    codes = parts.checked(codes)
    tokens = parts.condition.checked(as_array("caption", caption), len(codes))
    return _log_probs(parts, own, tokens, codes)


@no_type_check
def make_text_parts(
    optimizer: optax.GradientTransformation,
    options: TextOptions,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
) -> TextParts:
    """The parts of a model, with a `Transformer` of these sizes. Raises ConfigError for sizes that
    cannot work."""
    check_ranges(options)
    sizes = (options.vocabulary, options.length, width, depth, heads)
    weights = np.ones(options.length, np.float32)
    weights[: options.caption_length] = options.text_weight
    whole = autoregressive(
        factorise(Transformer(*sizes, dropout=options.dropout), options),
        categorical(options.vocabulary),
        optimizer,
        shape=(options.length,),
        ema_decay=options.ema_decay,
        dropout=options.dropout > 0,
        weights=weights,
    )
    return TextParts(options, whole, captions(options.words, options.caption_length))


def model_from_text_parts(parts: TextParts) -> GenerativeModel:
    """The model of parts that `make_text_parts` has checked."""
    model = assemble(
        parts, init_state, step, draw_samples, log_prob, "exact", parameters=parts.whole.parameters
    )
    return compiled(
        model,
        condition=parts.condition,
        per_sample={"guidance": partial(one_or_each, "guidance")},
        encode=lambda key, x: parts.checked(x),
    )


@no_type_check
def text_to_codes(
    optimizer: optax.GradientTransformation,
    *,
    caption_length: int,
    words: int,
    num_codes: int,
    codes: int,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    **options: Any,
) -> GenerativeModel:
    """Codes [N] of an image from a sentence, with exact log p (ramesh2021 sec. 2.2, eq. 1).

    A batch holds codes "x" [B, N] and tokens "caption" [B, T]; `sample` and `log_prob` take
    `caption=`. A prior of `vae.vqvae`, or a model by itself; `options` are the fields of
    `TextOptions`. Raises ConfigError for sizes that cannot work.

    >>> import optax
    >>> from gen_jax.autoregressive import text_to_codes
    >>> model = text_to_codes(optax.adam(1e-3), caption_length=8, words=30, num_codes=16, codes=64)
    >>> model.log_prob_kind, "caption" in model.conditions
    ('exact', True)
    """
    made = options_from(TextOptions, options, caption_length, words, num_codes, codes)
    return model_from_text_parts(make_text_parts(optimizer, made, width, depth, heads))
