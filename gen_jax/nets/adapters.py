"""Networks that are no Flax Linen modules: plain functions (equinox, your own), and Flax NNX."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
from flax import nnx

from gen_jax.errors import ConfigError, shown
from gen_jax.types import Array, Key


class FunctionNetwork:
    """What the models call of a network: `init` and `apply`, as a Linen module has them.

    Its variables are {"params": the parameters}. Words such as `train` or `deterministic`, which
    switch a Linen module to training, are not passed on.
    """

    def __init__(self, init: Callable[..., Any], apply: Callable[..., Any]):
        for name, function in (("init", init), ("apply", apply)):
            if not callable(function):
                raise ConfigError(f"{name}={shown(function)} must be a function")
        self._init, self._apply = init, apply

    def init(self, key: Key[Array, ""], *inputs: Any, **words: Any) -> dict[str, Any]:
        """Fresh variables."""
        return {"params": self._init(key, *inputs)}

    def apply(self, variables: Any, *inputs: Any, mutable: Any = False, **words: Any) -> Any:
        """The output; with `mutable` also the collections that moved, of which there are none."""
        out = self._apply(variables["params"], *inputs)
        return out if mutable is False else (out, {})


def from_functions(init: Callable[..., Any], apply: Callable[..., Any]) -> FunctionNetwork:
    """A network from two functions, for every family that takes a Flax module.

    Args:
      init: `(key, *inputs) -> params`, any pytree of arrays; the inputs are those of one example
        or two, such as x [1, *shape], noise [1], condition of a denoiser.
      apply: `(params, *inputs) -> output`, pure.

    >>> import jax, jax.numpy as jnp
    >>> from gen_jax import nets
    >>> network = nets.from_functions(
    ...     lambda key, x, noise, condition: {"scale": jnp.zeros(x.shape[1:])},
    ...     lambda params, x, noise, condition: params["scale"] * x,
    ... )
    >>> params = network.init(jax.random.key(0), jnp.ones((1, 2)), jnp.ones(1), None)
    >>> network.apply(params, jnp.ones((3, 2)), jnp.ones(3), None).shape
    (3, 2)
    """
    return FunctionNetwork(init, apply)


class NNXNetwork(FunctionNetwork):
    """A Flax NNX module behind `init` and `apply`; see `from_nnx`."""

    def __init__(self, build: Callable[[nnx.Rngs], nnx.Module]):
        self.build = build
        super().__init__(self._fresh, self._call)

    @cached_property
    def graph(self) -> Any:
        """The module without its arrays. Raises ConfigError for state other than parameters."""
        module = nnx.eval_shape(lambda: self.build(nnx.Rngs(0)))
        if not isinstance(module, nnx.Module):
            raise ConfigError(f"build returned {shown(module)}, must return an nnx.Module")
        parts: Any = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
        graph, _, other = parts
        kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(other, is_leaf=_is_variable)}
        if kinds:
            raise ConfigError(
                f"the NNX module holds {', '.join(sorted(kinds))}: only nnx.Param is supported "
                "(leave out batch normalisation and dropout, or write it in Linen)"
            )
        return graph

    def _fresh(self, key: Key[Array, ""], *inputs: Any) -> Any:
        del inputs
        self.graph  # noqa: B018  refuses what is not supported
        return nnx.to_pure_dict(nnx.state(self.build(nnx.Rngs(key)), nnx.Param))

    def _call(self, params: Any, *inputs: Any) -> Any:
        example = nnx.eval_shape(lambda: self.build(nnx.Rngs(0)))
        state = nnx.state(example, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(self.graph, state)(*inputs)


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module]) -> NNXNetwork:
    """A Flax NNX module as a network, for every family that takes a Linen module.

    Args:
      build: `rngs -> nnx.Module`, whose call takes the family's inputs, such as (x, noise,
        condition). All its state must be `nnx.Param`: batch statistics and dropout are refused.

    >>> import jax, jax.numpy as jnp
    >>> from flax import nnx
    >>> from gen_jax import nets
    >>> class Line(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.line = nnx.Linear(2, 2, rngs=rngs)
    ...     def __call__(self, x, noise, condition=None):
    ...         return self.line(x) * noise[:, None]
    ...
    >>> network = nets.from_nnx(lambda rngs: Line(rngs))
    >>> params = network.init(jax.random.key(0), jnp.ones((1, 2)), jnp.ones(1), None)
    >>> network.apply(params, jnp.ones((3, 2)), jnp.ones(3), None).shape
    (3, 2)
    """
    if not callable(build):
        raise ConfigError(f"build={shown(build)} must be a function of nnx.Rngs")
    return NNXNetwork(build)
