"""Calls of generator and critic: what is carried, what is random, and what is only passed on."""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.checks import check_output
from gen_jax.conditions import one_hot
from gen_jax.errors import ConfigError, shown
from gen_jax.gan.options import Options, Parts
from gen_jax.gan_nets.critic_output import CriticOutput, wanted
from gen_jax.randomness import fold_in, normal, sample_keys
from gen_jax.types import Array, Float, Int, Key


def apply(
    network: Any,
    params: Any,
    stats: Any,
    inputs: tuple,
    key: Key[Array, ""] | None,
    train: bool,
    **offered: Any,
) -> tuple[Any, Any]:
    """(output, collections after the call). Of `offered`, the network gets what it names."""
    extra = wanted(network, offered)
    variables = {"params": params, **stats}
    if not train:
        return network.apply(variables, *inputs, train=False, **extra), stats
    rngs = {} if key is None else {"dropout": key}
    out, moved = network.apply(
        variables, *inputs, train=True, mutable=list(stats), rngs=rngs, **extra
    )
    return out, {**stats, **moved}


def draw_latent(keys: Key[Array, "B"], options: Options) -> Float[Array, "B L"]:
    """z ~ N(0, I) [B, latent], beside it the code of "info": one category, numbers in [-1, 1]."""
    z = normal(fold_in(keys, 0), (options.latent,))
    categories, numbers = options.code
    parts = [z]
    if categories:
        pick = lambda key: jax.random.randint(key, (), 0, categories)
        parts.append(one_hot(jax.vmap(pick)(fold_in(keys, 1)), categories))
    if numbers:
        draw = lambda key: jax.random.uniform(key, (numbers,), minval=-1.0)
        parts.append(jax.vmap(draw)(fold_in(keys, 2)))
    return jnp.concatenate(parts, 1)


def generate(
    parts: Parts,
    params: Any,
    stats: Any,
    keys: Key[Array, "B"],
    z: Float[Array, "B L"],
    condition: Any,
    step: Int[Array, ""],
    train: bool = False,
    **offered: Any,
) -> tuple[Float[Array, "B ..."], Any]:
    """Examples [B, *shape] in the networks' units, and the collections after the call."""
    offered |= {"keys": fold_in(keys, 3), "step": step}
    key = jax.random.fold_in(keys[0], 4) if train else None
    x, stats = apply(parts.generator, params, stats, (z, condition), key, train, **offered)
    return check_output("generator", x, (len(z), *parts.options.shape)), stats


def apply_critic(
    parts: Parts,
    params: Any,
    stats: Any,
    key: Key[Array, ""] | None,
    x: Float[Array, "B ..."],
    condition: Any,
    step: Int[Array, ""],
    train: bool = False,
) -> tuple[CriticOutput, Any]:
    """What the critic says, and its collections after it; the condition only where it sees one."""
    offered: dict[str, Any] = {"step": step}
    if key is not None:
        offered["keys"] = sample_keys(jax.random.fold_in(key, 1), len(x))
    inputs = x, condition if parts.critic_sees else None
    said, stats = apply(parts.critic, params, stats, inputs, key, train, **offered)
    return check_critic_output(said, len(x)), stats


def check_critic_output(said: Any, count: int) -> CriticOutput:
    """What a critic said of `count` examples. Raises ConfigError without one score for each."""
    if isinstance(said, Array):
        said = CriticOutput(said)
    if not isinstance(said, CriticOutput):
        raise ConfigError(
            f"critic returned {shown(said)}, must be scores [B] or a gan_nets.CriticOutput"
        )
    check_output("critic", said.score, (count,), "one score per example, ")
    return said
