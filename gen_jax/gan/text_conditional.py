"""Images from sentences: a matching-aware critic (GAN-CLS), interpolated sentences (GAN-INT).

The critic tells (image, its sentence) from a made image with its sentence, and from a real image
with another's sentence; so it must read. The generator also learns from means of two sentences'
embeddings, for which there are no images (reed2016, algorithm 1 and eq. 5).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.checks import check_output, no_type_check
from gen_jax.conditions import batch_labels, checked_labels
from gen_jax.errors import ConfigError, check_range, check_shape
from gen_jax.gan.networks import apply, check_critic_output
from gen_jax.gan.options import GanState
from gen_jax.gan.translation import check_images, report, units
from gen_jax.gan_nets.captioned import Caption, Captioned
from gen_jax.model import GenerativeModel, compiled
from gen_jax.optimization import moving_average, optimizer_step, start_average, start_moments
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Batch, Bool, Float, Int, Key, Metrics

softplus = jax.nn.softplus


def matching_critic_loss(
    real: Float[Array, "B"],
    mismatched: Float[Array, "B"],
    fake: Float[Array, "B"],
    differs: Bool[Array, "B"],
) -> Float[Array, "B"]:
    """-log D(x, t) - (log(1 - D(x, t')) + log(1 - D(G(z, t), t))) / 2, of logits.

    Args:
      differs: whether t' is not t; where it is, that term is left out.
    """
    wrong = jnp.where(differs, softplus(mismatched), softplus(fake))
    return softplus(-real) + 0.5 * (wrong + softplus(fake))


class TextOptions(NamedTuple):
    """How a text-conditional GAN is made.

    Fields:
      shape: of one example after the transform.
      latent: dimension of z.
      prompts: [K, M, T], M sentences of each label; a sample by label takes one of them at random,
        an example without a caption the first.
      interpolation: weight of the generator's loss under means of two sentences; 0 is GAN-CLS.
      transform: `data.Transform`, or None.
    """

    shape: tuple[int, ...]
    latent: int
    prompts: Int[Any, "K M T"]
    interpolation: float = 1.0
    transform: Any = None
    ema_decay: float = 0.999


class TextParts(NamedTuple):
    """Networks, optimizers and options."""

    generator: Captioned
    critic: Captioned
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    options: TextOptions

    def make(self, params: Any, stats: Any, z: Array, caption: Caption) -> tuple[Array, Any]:
        """Images of a generator in training, and its collections after the call."""
        x, moved = apply(self.generator, params, stats, (z, caption), None, True)
        return check_output("generator", x, (len(z), *self.options.shape)), moved

    def apply_critic(
        self, params: Any, stats: Any, x: Array, caption: Caption
    ) -> tuple[Array, Any]:
        """Scores of a critic in training, and its collections after the call."""
        said, moved = apply(self.critic, params, stats, (x, caption), None, True)
        return check_critic_output(said, len(x)).score, moved


def _split(variables: Any) -> tuple[Any, Any]:
    return variables["params"], {k: v for k, v in variables.items() if k != "params"}


def _init(parts: TextParts, key: Key[Array, ""]) -> GanState:
    options = parts.options
    key_generator, key_critic = jax.random.split(key)
    caption = Caption(jnp.asarray(options.prompts[:2, 0], jnp.int32))
    z, x = jnp.zeros((2, options.latent)), jnp.zeros((2, *options.shape))
    generator, generator_stats = _split(parts.generator.init(key_generator, z, caption))
    critic, critic_stats = _split(parts.critic.init(key_critic, x, caption))
    return GanState(
        generator,
        critic,
        generator_stats,
        critic_stats,
        start_average({"params": generator, **generator_stats}),
        start_moments(parts.generator_optimizer, generator, "generator_optimizer"),
        start_moments(parts.critic_optimizer, critic, "critic_optimizer"),
        jnp.zeros(()),
        jnp.zeros((), jnp.int32),
    )


def _update_critic(
    parts: TextParts, key: Key[Array, ""], state: GanState, x: Array, tokens: Array
) -> tuple[GanState, Metrics]:
    """One step on `matching_critic_loss`; another's sentence is the next example's."""
    other = jnp.roll(tokens, 1, axis=0)
    differs = jnp.any(tokens != other, axis=1)
    z = normal(sample_keys(key, len(x)), (parts.options.latent,))
    made, generator_stats = parts.make(state.generator, state.generator_stats, z, Caption(tokens))
    moved = parts.apply_critic(state.critic, state.critic_stats, x, Caption(tokens))[1]

    def loss(params):
        apply_critic = lambda x, tokens: parts.apply_critic(
            params, state.critic_stats, x, Caption(tokens)
        )[0]
        real, wrong, fake = (
            apply_critic(x, tokens),
            apply_critic(x, other),
            apply_critic(made, tokens),
        )
        found = {"real_score": real, "mismatched_score": wrong, "fake_score": fake}
        return matching_critic_loss(real, wrong, fake, differs), found

    optimizer, memory = parts.critic_optimizer, state.critic_optimizer
    critic, memory, metrics = optimizer_step(loss, optimizer, state.critic, memory)
    after = state._replace(
        critic=critic,
        critic_optimizer=memory,
        critic_stats=moved,
        generator_stats=generator_stats,
    )
    return after, report(metrics, "critic", critic)


def _update_generator(
    parts: TextParts, key: Key[Array, ""], state: GanState, tokens: Array
) -> tuple[GanState, Metrics]:
    """One step on -log D under true sentences, and under means of two (reed2016 eq. 5)."""
    options = parts.options
    z = normal(sample_keys(key, 2 * len(tokens)), (options.latent,))
    captions = Caption(tokens), Caption(tokens, jnp.roll(tokens, 1, axis=0), 0.5)

    def loss(params):
        def cost(z, caption):
            made, _ = parts.make(params, state.generator_stats, z, caption)
            return softplus(-parts.apply_critic(state.critic, state.critic_stats, made, caption)[0])

        each = cost(z[: len(tokens)], captions[0])
        if not options.interpolation:
            return each, {}
        between = cost(z[len(tokens) :], captions[1])
        return each + options.interpolation * between, {"interpolated_loss": between}

    optimizer, memory = parts.generator_optimizer, state.generator_optimizer
    generator, memory, metrics = optimizer_step(loss, optimizer, state.generator, memory)
    present = {"params": generator, **state.generator_stats}
    ema = moving_average(state.ema, present, state.step, options.ema_decay)
    after = state._replace(generator=generator, generator_optimizer=memory, ema=ema)
    after = after._replace(step=state.step + 1)
    return after, report(metrics, "generator", generator)


def _checked_caption(options: TextOptions, caption: Any, n: int) -> Int[Array, "n T"]:
    """Tokens of n samples from one sentence or n. Raises ConfigError for another shape."""
    tokens, length = jnp.asarray(caption), options.prompts.shape[2]
    if tokens.shape not in ((length,), (n, length)):
        raise ConfigError(f"caption has shape {tokens.shape}, must be [{length}] or [n, T]")
    return jnp.broadcast_to(tokens, (n, length))


def _captions(parts: TextParts, keys: Key[Array, "n"], n: int, label: Any, caption: Any) -> Array:
    """Tokens [n, T]: those given, or the prompts of labels given or drawn."""
    prompts = jnp.asarray(parts.options.prompts, jnp.int32)
    if caption is not None and label is not None:
        raise ConfigError("give a label or a caption, not both")
    if caption is not None:
        return _checked_caption(parts.options, caption, n)
    label = checked_labels(label, n, len(prompts))
    if label is None:
        draw = lambda key: jax.random.randint(key, (), 0, len(prompts))
        label = jax.vmap(draw)(fold_in(keys, 1))
    pick = lambda key: jax.random.randint(key, (), 0, prompts.shape[1])
    return prompts[label, jax.vmap(pick)(fold_in(keys, 2))]


def _given_captions(options: TextOptions, batch: Batch) -> Int[Array, "B T"]:
    if "caption" in batch:
        return batch["caption"]
    if "y" not in batch:
        raise ConfigError("a text-conditional GAN needs data with captions, or with labels")
    return jnp.asarray(options.prompts, jnp.int32)[batch_labels(batch, len(options.prompts)), 0]


@no_type_check
def text_conditional(
    generator: Captioned,
    critic: Captioned,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    **options: Any,
) -> GenerativeModel:
    """GAN-CLS with GAN-INT; batches hold "x" and tokens "caption" [B, T], or else labels "y", which
    stand for their prompts.

    Args:
      options: fields of `TextOptions`.
    `sample(key, state, n, *, label=None, caption=None)` takes tokens, [T] or [n, T], or labels for
    their prompts. Raises ConfigError for options that cannot work, and for data without both.
    """
    settings = TextOptions(**options)
    check_shape("shape", settings.shape)
    check_range("latent", settings.latent, 1, integer=True)
    check_range("interpolation", settings.interpolation, 0)
    check_range("ema_decay", settings.ema_decay, 0, 1)
    parts = TextParts(generator, critic, generator_optimizer, critic_optimizer, settings)
    encode, decode = units(settings.transform)

    def step(key, state, batch):
        tokens = _given_captions(settings, batch)
        key_data, key_critic, key_generator = jax.random.split(key, 3)
        x = encode(key_data, batch["x"])
        state, judged = _update_critic(parts, key_critic, state, x, tokens)
        state, metrics = _update_generator(parts, key_generator, state, tokens)
        return state, judged | metrics

    def sample(key, state, n, *, label=None, caption=None):
        keys = sample_keys(key, n)
        tokens = _captions(parts, keys, n, label, caption)
        z = normal(fold_in(keys, 0), (settings.latent,))
        made: Any = generator.apply(state.ema, z, Caption(tokens))
        return decode(made)

    def init(key, batch):
        check_images(settings.shape, settings.transform, batch)
        _given_captions(settings, batch)
        return _init(parts, key)

    model = GenerativeModel(
        init, step, sample, parameters=lambda state: (state.generator, state.critic)
    )
    label = partial(checked_labels, num_classes=len(settings.prompts))
    caption = partial(_checked_caption, settings)
    return compiled(model, per_sample={"label": label, "caption": caption})
