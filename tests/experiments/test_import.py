"""What importing the package costs and brings in."""

import json
import pkgutil
import subprocess
import sys

import gen_jax

SUBPACKAGES = sorted(module.name for module in pkgutil.iter_modules(gen_jax.__path__))

SCRIPT = """
import importlib, json, sys, time
import jax
begun = time.perf_counter()
import gen_jax
seconds = time.perf_counter() - begun
foreign = {"tensorflow", "torch", "ott", "matplotlib"}
found = {"": sorted(foreign & sys.modules.keys())}
for name in sys.argv[1:]:
    importlib.import_module(f"gen_jax.{name}")
    found[name] = sorted(foreign & sys.modules.keys())
print(json.dumps({"seconds": seconds, "found": found}))
"""


def test_import_is_light():
    """Only plotting brings in matplotlib, and nothing brings in another framework."""
    assert {"data", "diffusion", "training", "metrics", "plotting"} <= set(SUBPACKAGES)
    names = sorted(SUBPACKAGES, key=lambda name: (name == "plotting", name))
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    plotting = report["found"].pop("plotting")
    assert {name: brought for name, brought in report["found"].items() if brought} == {}
    assert set(plotting) <= {"matplotlib"}
    assert report["seconds"] < 1.5
