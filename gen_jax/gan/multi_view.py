"""A GAN that separates what an image shows from how it is seen, without labels (chen2018views).

The generator has latents of content and of view. The critic sees pairs: two views of one real
image, or two images of one generated content; only if the content alone decides what does not
change between views are pairs alike.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, check_range
from gen_jax.gan.generate import examples
from gen_jax.gan.model import model_from_parts
from gen_jax.gan.options import GanState, Options, Parts, make_parts
from gen_jax.gan.translation import units
from gen_jax.gan_nets.pair_generator import PairGenerator
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.ranges import options_from
from gen_jax.types import Array, Float, Key


def checked_keys(keys: Any, n: int) -> Key[Array, "n"]:
    """The same. Raises ConfigError unless they are n keys."""
    if np.shape(keys) != (n,):
        raise ConfigError(f"content_keys and view_keys must be {n} keys, got {np.shape(keys)}")
    return keys


View = Callable[[Key[Array, ""], Float[Array, "H W C"]], Float[Array, "H W C"]]
"""`(key, image) -> another look at it`."""


class PairTransform:
    """Between images in data units and pairs of views in the networks': encode draws two views,
    decode takes the first."""

    def __init__(self, transform: Any, view: View):
        self._encode, self._decode = units(transform)
        self.view = view

    def encode(self, key: Key[Array, "*batch"], x: Array) -> Float[Array, "B H W C2"]:
        """Two views of each image, along the channels; `key` one, or one for each."""
        keys = sample_keys(key, len(x))
        u = self._encode(fold_in(keys, 0), x)
        look = lambda use: jax.vmap(self.view)(fold_in(keys, use), u)
        return jnp.concatenate([look(1), look(2)], -1)

    def decode(self, u: Float[Array, "B H W C2"]) -> Array:
        """The first views, in data units."""
        return self._decode(jnp.split(u, 2, axis=-1)[0])


def draw_views(
    parts: Parts,
    key: Key[Array, "*batch"],
    state: GanState,
    n: int,
    *,
    content_keys: Key[Array, "n"] | None = None,
    view_keys: Key[Array, "n"] | None = None,
    **conditions: Any,
) -> Array:
    """n images of the moving average in data units.

    Args:
      content_keys, view_keys: of the contents and of the views, instead of the samples' own: equal
        keys give equal contents, or equal views.
    """
    keys, content = sample_keys(key, n), parts.generator.content
    view = (parts.options.latent - content) // 2
    draw = lambda given, use, size: normal(fold_in(keys if given is None else given, use), (size,))
    z = draw(content_keys, 0, content), draw(view_keys, 1, view), draw(view_keys, 2, view)
    return examples(parts, state, keys, jnp.concatenate(z, 1), conditions)


def views_from_parts(parts: Parts) -> GenerativeModel:
    """The model of parts whose generator is a `PairGenerator`."""
    model = model_from_parts(parts)._replace(sample=partial(draw_views, parts), conditions={})
    keys_of = dict.fromkeys(("content_keys", "view_keys"), checked_keys)
    return compiled(model, condition=parts.options.condition, per_sample=keys_of)


@no_type_check
def multi_view(
    generator: Any,
    critic: Any,
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    shape: tuple[int, ...],
    content: int,
    view: int,
    views: View,
    transform: Any = None,
    **options: Any,
) -> GenerativeModel:
    """A multi-view GAN of images.

    Args:
      generator: of single images, latents [B, content + view].
      critic: of pairs [B, H, W, 2 C].
      shape: of one image after the transform.
      views: draws another look at an image, in the transform's units.
      options: others of `gan.Options`.
    `sample` takes the arguments of `draw_views`, and the names of the condition. Raises ConfigError
    for options that cannot work.
    """
    check_range("view", view, 1, integer=True)
    if "latent" in options:
        raise ConfigError(f"latent={options['latent']!r} is content + 2 * view: leave it out")
    own = {
        "shape": (*shape[:-1], 2 * shape[-1]),
        "latent": content + 2 * view,
        "transform": PairTransform(transform, views),
    }
    settings = options_from(Options, own | options)
    optimizers = generator_optimizer, critic_optimizer
    parts = make_parts(PairGenerator(generator, content), critic, *optimizers, settings)
    return views_from_parts(parts)
