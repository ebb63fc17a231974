"""Coupling flows beside flowjax, zuko and nflows: a training step and sampling, in one run.

    python -m pip install --no-deps --target /tmp/peers flowjax paramax equinox zuko nflows
    PYTHONPATH=/tmp/peers python -m benchmarks.flow_peers

zuko and nflows need PyTorch. All sides have the same number of couplings on alternating halves of
the coordinates, networks of two hidden layers of silu (nflows: one residual block), the same batch
and Adam; splines have 8 bins on [-5, 5]. Each pair of runs gives one ratio of times (theirs over
ours); the table has the median of the pairs and their quartiles.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.measuring import machine, write
from gen_jax import flows

DIM, LAYERS, WIDTH, BINS, BATCH, SAMPLES, STEPS = 16, 8, 64, 8, 512, 4096, 20
KINDS = ("affine", "spline")


class Side(NamedTuple):
    """`train()` takes STEPS steps, `sample()` draws SAMPLES points; both wait for the result."""

    train: Callable[[], Any]
    sample: Callable[[], Any]


def points() -> np.ndarray:
    """One batch of correlated points [BATCH, DIM]."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(BATCH, DIM)) @ rng.normal(size=(DIM, DIM)) / 4).astype(np.float32)


def jax_side(params: Any, log_prob: Callable, sample: Callable) -> Side:
    """A side of `log_prob(params, x)` and `sample(params, key)`; STEPS steps are one scan."""
    optimizer, x = optax.adam(1e-3), jnp.asarray(points())
    loss = lambda params: -log_prob(params, x).mean()

    @jax.jit
    def train(params, state):
        def body(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(body, (params, state), None, STEPS)[1]

    state, draw = optimizer.init(params), jax.jit(sample)
    return Side(
        lambda: jax.block_until_ready(train(params, state)),
        lambda: jax.block_until_ready(draw(params, jax.random.key(1))),
    )


def gen_jax_side(kind: str) -> Side:
    function = flows.affine() if kind == "affine" else flows.rational_quadratic(BINS)
    masks = ["first_half" if i % 2 == 0 else "second_half" for i in range(LAYERS)]
    layer = flows.chain(*[flows.coupling(function, mask, (WIDTH, WIDTH)) for mask in masks])
    return jax_side(
        layer.init(jax.random.key(0), DIM),
        lambda params, x: flows.density.log_density(layer.bijector(params), x),
        lambda params, key: flows.density.sample(key, layer.bijector(params), SAMPLES, DIM)[0],
    )


def flowjax_side(kind: str) -> Side:
    import equinox
    import paramax
    from flowjax.bijections import Affine, RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow

    spline = RationalQuadraticSpline(knots=BINS, interval=5)
    flow = coupling_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(DIM)),
        transformer=Affine() if kind == "affine" else spline,
        flow_layers=LAYERS,
        nn_width=WIDTH,
        nn_depth=2,
        nn_activation=jax.nn.silu,
    )
    params, static = equinox.partition(
        flow,
        equinox.is_inexact_array,
        is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
    )
    whole = lambda params: paramax.unwrap(equinox.combine(params, static))
    return jax_side(
        params,
        lambda params, x: whole(params).log_prob(x),
        lambda params, key: whole(params).sample(key, (SAMPLES,)),
    )


def torch_side(module: Any, log_prob: Callable, sample: Callable) -> Side:
    """A side of a PyTorch module, run eagerly, as its users do."""
    import torch

    x, optimizer = torch.from_numpy(points()), torch.optim.Adam(module.parameters(), 1e-3)

    def train():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = -log_prob(x).mean()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    def draw():
        with torch.no_grad():
            return sample()

    return Side(train, draw)


def zuko_side(kind: str) -> Side:
    import torch
    import zuko

    options: dict[str, Any] = {"activation": torch.nn.SiLU}
    options |= {"transforms": LAYERS, "hidden_features": (WIDTH, WIDTH), "passes": 2}
    make = zuko.flows.MAF if kind == "affine" else zuko.flows.NSF
    flow = make(DIM, 0, **options, **({} if kind == "affine" else {"bins": BINS}))
    return torch_side(flow, lambda x: flow().log_prob(x), lambda: flow().sample((SAMPLES,)))


def nflows_side(kind: str) -> Side:
    import torch
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import base, coupling

    network = lambda size, out: ResidualNet(
        size, out, hidden_features=WIDTH, num_blocks=1, activation=torch.nn.functional.silu
    )
    parts = []
    for i in range(LAYERS):
        mask = torch.ones(DIM)
        mask[DIM // 2 :] = -1
        mask = mask if i % 2 else -mask
        if kind == "affine":
            parts.append(coupling.AffineCouplingTransform(mask, network))
        else:
            spline = coupling.PiecewiseRationalQuadraticCouplingTransform
            parts.append(spline(mask, network, num_bins=BINS, tails="linear", tail_bound=5.0))
    flow = Flow(base.CompositeTransform(parts), StandardNormal([DIM]))
    return torch_side(flow, flow.log_prob, lambda: flow.sample(SAMPLES))


SIDES = {"flowjax": flowjax_side, "zuko": zuko_side, "nflows": nflows_side}


def timed(run: Callable) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def compare(kind: str, peer: str, pairs: int) -> list[dict[str, Any]]:
    """Two rows, training and sampling."""
    sides = {"gen_jax": gen_jax_side(kind), peer: SIDES[peer](kind)}
    rows = []
    for task in ("train", "sample"):
        runs = {name: getattr(side, task) for name, side in sides.items()}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for pair in range(pairs + 1):
            for name in sorted(runs, reverse=bool(pair % 2)):
                spent = timed(runs[name])
                if pair:  # the first compiles
                    seconds[name].append(spent)
        ratios = np.array(seconds[peer]) / np.array(seconds["gen_jax"])
        row = {"kind": kind, "task": task, "peer": peer}
        row["time_ratio"] = round(float(np.median(ratios)), 3)
        row["time_ratio_quartiles"] = np.quantile(ratios, [0.25, 0.75]).round(3).tolist()
        rows.append(
            row | {f"{n}_seconds": round(float(np.median(s)), 4) for n, s in seconds.items()}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--dry-run", action="store_true", help="write no result")
    options = parser.parse_args()
    facts = machine()
    rows = []
    for kind in KINDS:
        for peer in SIDES:
            for row in compare(kind, peer, options.pairs):
                rows.append(row)
                print(json.dumps(row), flush=True)
    sizes = {"dim": DIM, "layers": LAYERS, "width": WIDTH, "batch": BATCH, "samples": SAMPLES}
    if not options.dry_run:
        write("flow_peers", facts, {"rows": rows, **sizes, "steps": STEPS, "pairs": options.pairs})


if __name__ == "__main__":
    main()
