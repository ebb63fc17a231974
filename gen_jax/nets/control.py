"""Spatial control of a trained transformer by a side copy through zero layers (zhang2023b)."""

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gen_jax import conditions
from gen_jax.checks import no_type_check
from gen_jax.errors import ConfigError, shown
from gen_jax.nets.adapters import FunctionNetwork, from_functions
from gen_jax.nets.blocks import check_image, over_tokens, patches_of
from gen_jax.nets.dit import ZEROS, Block, DiT
from gen_jax.types import Array, Float


def sizes_of(network: DiT) -> dict[str, Any]:
    """All fields of a DiT but those that say what it is conditioned on."""
    other = "condition", "num_classes", "parent", "name"
    names = [field.name for field in fields(DiT) if field.name not in other]
    return {name: getattr(network, name) for name in names}


class ControlCopy(DiT):
    """A copy of a DiT's blocks that sees the control too; what each block adds to the base's."""

    @nn.compact
    def __call__(  # type: ignore[override]
        self,
        x: Float[Array, "B H W C"],
        noise: Float[Array, "*batch"],
        condition: Any,
        control: Float[Array, "B H W D"],
        deterministic: bool = True,
    ) -> list[Float[Array, "B N E"]]:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        tokens, modulation, words = self.embedded(x, noise, condition)
        zero = lambda name: nn.Dense(self.width, kernel_init=ZEROS, name=name, **types)
        h = tokens + over_tokens(zero("control"), patches_of(control, self.patch))
        added = []
        for number in range(self.depth):
            block = Block(self.heads, dropout=self.dropout, attend=self.attend, **types)
            h = block(h, modulation, deterministic, words)
            added.append(over_tokens(zero(f"zero_{number}"), h))
        return added


class ControlledDiT(DiT):
    """A DiT ("base") with a side copy ("side") whose blocks see a control image.

    The control enters and leaves the side copy through layers that are zero at first, so that the
    network is the base then. The fields are those of the base; `condition` is an image, or a joint
    condition with one, and the rest of it is the base's. Train it by `beside(network, base)`.
    """

    @nn.compact
    def __call__(  # type: ignore[override]
        self,
        x: Float[Array, "B ..."],
        noise: Float[Array, "*batch"],
        condition: Any = None,
        *,
        control: Float[Array, "B ..."] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B ..."]:
        """As a DiT's. Raises ConfigError without a control, or for one of another size than x."""
        check_image(x)
        rest, value, image = self.taken_apart(condition, len(x))
        control = image if control is None else control
        if control is None or control.shape[:3] != x.shape[:3]:
            given = None if control is None else control.shape
            raise ConfigError(f"control has shape {given}, must be {[*x.shape[:3]]} and channels")
        side = ControlCopy(name="side", **sizes_of(self), **rest)
        added = side(x, noise, value, control, deterministic)
        base = DiT(name="base", **sizes_of(self), **rest)
        return base(x, noise, value, added=added, deterministic=deterministic)

    def taken_apart(self, value: Any, n: int) -> tuple[dict[str, Any], Any, Array | None]:
        """The base's fields for its condition, the value of that, and the control image."""
        whole = self.condition
        if whole is None:
            return {"num_classes": self.num_classes}, value, None
        value = whole.null(n) if value is None else value
        if isinstance(whole, conditions.Image):
            return {"num_classes": self.num_classes}, None, value
        parts = getattr(whole, "parts", ())
        images = [part for part in parts if isinstance(part, conditions.Image)]
        others = [part for part in parts if not isinstance(part, conditions.Image)]
        if len(images) != 1:
            raise ConfigError(f"condition={whole.name!r} must hold one image, the control")
        image = value[images[0].name]
        if len(others) == 1 and isinstance(others[0], conditions.Labels):
            return {"num_classes": others[0].num_classes}, value[others[0].name], image
        left = conditions.Joint(parts=tuple(others))
        return {"condition": left}, {part.name: value[part.name] for part in others}, image


def check_layers(name: str, found: Any, wanted: Any) -> None:
    """Raise ConfigError unless parameters have the layers of a network, and their shapes."""
    wanted, found = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (wanted, found))
    )
    wrong = sorted(p for p in wanted | found if wanted.get(p) != found.get(p))
    if wrong:
        raise ConfigError(
            f"{name}{wrong[0]} has shape {found.get(wrong[0])}, the network's has "
            f"{wanted.get(wrong[0])}"
        )


def control_params(variables: Any, base: Any) -> Any:
    """A `ControlledDiT`'s fresh variables, with a trained DiT's as base and as side copy.

    Args:
      base: the parameters of the trained DiT, `variables["params"]` of it.
    Raises ConfigError where the base has other layers, or layers of another shape.
    """
    params = variables["params"]
    check_layers("base", base, params["base"])
    side = {name: base.get(name, fresh) for name, fresh in params["side"].items()}
    return {**variables, "params": {"base": base, "side": side}}


@no_type_check
def beside(network: ControlledDiT, base: Any) -> FunctionNetwork:
    """The network whose parameters are the side copy alone; the base's stay as they are.

    With `frozen.given(base, lambda base: diffusion(beside(network, base), ...))` the base travels
    in the state and neither an optimizer nor a moving average sees it. Dropout is off.
    Raises ConfigError for another network.
    """
    if not isinstance(network, ControlledDiT):
        raise ConfigError(f"network={shown(network)} must be a ControlledDiT")

    def init(key: Any, x: Any, noise: Any, condition: Any = None) -> Any:
        x = jnp.asarray(x, jnp.float32)
        return control_params(network.init(key, x, noise, condition), base)["params"]["side"]

    def apply(side: Any, *inputs: Any) -> Any:
        return network.apply({"params": {"base": base, "side": side}}, *inputs)

    return from_functions(init, apply)
