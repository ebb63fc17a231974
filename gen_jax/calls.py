"""How many times a function calls a network, through whatever wraps the network.

A call is marked in the traced program, at the network's output (`network_call`), and `counted` runs
a function and counts the marks that it passes: under `lax.cond` those of the branch taken, in a
loop those of every turn. So closures, guidance, `jax.jit`, `jax.vmap` and `jax.grad` need to hand
nothing on.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from gen_jax.types import Array, Int

_MARK = "network call"
_MARKS_ITSELF = "marks_network_calls"


def called(output: Array) -> Array:
    """A network's output, marked as one call."""
    return checkpoint_name(output, _MARK)


def network_call(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function`, each call of which counts as one network call.

    A function that calls marked ones counts as these do, and is not marked once more.
    """
    if getattr(function, _MARKS_ITSELF, False):
        return function

    @wraps(function)
    def marked(*args):
        return function(*args) if marks(function, *args) else called(function(*args))

    return calls_inside(marked)


def marks(function: Callable, *args: Any) -> bool:
    """Whether a function calls a marked network."""
    return _has_marks(jax.make_jaxpr(function)(*args).jaxpr)


def calls_inside(function: Callable[..., Array]) -> Callable[..., Array]:
    """`function` with the note that the networks it calls are marked: it need not be searched."""
    setattr(function, _MARKS_ITSELF, True)
    return function


def counted(function: Callable[..., Any]) -> Callable[..., tuple[Any, Int[Array, ""]]]:
    """`(*args) -> (function(*args), its number of network calls)`.

    The values are those of `function`; a loop whose own reverse-mode derivative counts calls (the
    adaptive solver's) loses that derivative.
    """

    def run(*args):
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        outs, calls = _run(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), outs), calls

    return run


def uncounted(function: Callable[..., Any]) -> Callable[..., tuple[Any, int]]:
    """`(*args) -> (function(*args), 0)`: `counted` where nobody asks."""
    return lambda *args: (function(*args), 0)


def _inner(eqn: JaxprEqn) -> list[Jaxpr]:
    """The programs inside an equation."""
    is_program = lambda p: isinstance(p, Jaxpr | ClosedJaxpr)
    found = filter(is_program, jax.tree.leaves(eqn.params, is_leaf=is_program))
    return [p.jaxpr if isinstance(p, ClosedJaxpr) else p for p in found]


def _marks(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name == "name":
        return eqn.params["name"] == _MARK
    return any(map(_has_marks, _inner(eqn)))


def _has_marks(jaxpr: Jaxpr) -> bool:
    return any(map(_marks, jaxpr.eqns))


def _run(jaxpr: Jaxpr, consts: Sequence, args: Sequence) -> tuple[list, Any]:
    """The program's results and its number of marks."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args)))
    read = lambda v: v.val if isinstance(v, Literal) else known[v]
    calls = jnp.int32(0)
    for eqn in jaxpr.eqns:
        given = [read(v) for v in eqn.invars]
        rule = _RULES.get(eqn.primitive.name, _run_inside) if _marks(eqn) else _bind
        results, more = rule(eqn, given)
        known.update(zip(eqn.outvars, results))
        calls = calls + more
    return [read(v) for v in jaxpr.outvars], calls


def _bind(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    with eqn.ctx.manager:
        results = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
    return results if eqn.primitive.multiple_results else [results], 0


def _run_mark(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    return _bind(eqn, given)[0], 1


def _run_inside(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    """Functions called as they are: jit, checkpoint, those with derivatives of their own."""
    programs = _inner(eqn)
    if len(programs) != 1 or len(programs[0].invars) != len(given):
        raise NotImplementedError(f"network calls inside {eqn.primitive} cannot be counted")
    held = [p.consts for p in eqn.params.values() if isinstance(p, ClosedJaxpr)]
    return _run(programs[0], held[0] if held else (), given)


def _run_cond(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    index, *operands = given
    branches = [partial(_branch, b) for b in eqn.params["branches"]]
    return jax.lax.switch(index, branches, *operands)


def _branch(program: ClosedJaxpr, *operands: Any) -> tuple[list, Any]:
    return _run(program.jaxpr, program.consts, operands)


def _run_scan(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    p = eqn.params
    program = p["jaxpr"]
    if "ft_in" in p:  # since jax 0.12
        held, carry, xs = map(list, p["ft_in"].update(given).unpack())
    else:
        first, split = p["num_consts"], p["num_consts"] + p["num_carry"]
        held, carry, xs = map(list, (given[:first], given[first:split], given[split:]))

    def turn(state, x):
        results, more = _branch(program, *held, *state[0], *x)
        return (results[: len(carry)], state[1] + more), results[len(carry) :]

    start = (list(carry), jnp.int32(0))
    options = {name: p[name] for name in ("length", "reverse", "unroll")}
    (carry, calls), ys = jax.lax.scan(turn, start, xs, **options)
    return [*carry, *ys], calls


def _run_while(eqn: JaxprEqn, given: Sequence) -> tuple[list, Any]:
    p = eqn.params
    split = p["cond_nconsts"] + p["body_nconsts"]
    for_test, for_body = given[: p["cond_nconsts"]], given[p["cond_nconsts"] : split]

    def test(state, calls):
        (go_on,), more = _branch(p["cond_jaxpr"], *for_test, *state)
        return go_on, state, calls + more

    def turn(carry):
        _, state, calls = carry
        state, more = _branch(p["body_jaxpr"], *for_body, *state)
        return test(state, calls + more)

    start = test(list(given[split:]), jnp.int32(0))
    _, state, calls = jax.lax.while_loop(lambda carry: carry[0], turn, start)
    return state, calls


_RULES: dict[str, Callable] = {
    "name": _run_mark,
    "cond": _run_cond,
    "scan": _run_scan,
    "while": _run_while,
}
