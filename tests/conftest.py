"""What every test shares: the CPU, cheap compilation, float64 on request, a key per test."""

import gc
import inspect
import os
import signal
import sys
import zlib
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Compiling is three quarters of the suite's time: LLVM works less ...
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
sys.path.insert(0, str(Path(__file__).parent))  # closed forms: `import exact`
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and tests send it

import jax
import pytest
from jax._src import compiler

pytest_plugins = ["durations"]

_compile_options = compiler.get_compile_options
_CHEAP: dict[str, bool | int] = {"xla_cpu_parallel_codegen_split_count": 1}
if jax.__version_info__ < (0, 12):  # where XLA has another way than the emitters
    _CHEAP["xla_cpu_use_fusion_emitters"] = False


def _cheap_options(*args, env_options_overrides=None, **more):
    options = {**_CHEAP, **(env_options_overrides or {})}
    return _compile_options(*args, env_options_overrides=options, **more)


# ... and fusions do not each pass through MLIR (`as_users_compile` undoes this one; the function is
# not public, and a jax that has it in another form compiles as for users),
if "env_options_overrides" in inspect.signature(_compile_options).parameters:
    compiler.get_compile_options = _cheap_options
# and the collector rarely walks over all that tracing keeps.
gc.freeze()
gc.set_threshold(200_000, 20, 100)

_CACHE = os.environ.get("GEN_JAX_TEST_CACHE") or Path.home() / ".cache" / "gen_jax" / "test-jax"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _as_users_compile():
    """XLA's own ways through the code: for runs that must be equal bit for bit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", _compile_options)
        yield


as_users_compile = pytest.fixture(_as_users_compile)
module_as_users_compile = pytest.fixture(_as_users_compile, scope="module")


@pytest.fixture(scope="module")
def optimized(module_as_users_compile):
    """All of XLA's optimisations: for long loops, and for rounding at the last digits."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    usual = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] not in ("", "0")
    jax.config.update("jax_disable_most_optimizations", usual)


@pytest.fixture
def x64():
    """float64 inside this test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key(request):
    """A key of its own for each test: its seed is a hash of the test's id."""
    return jax.random.key(zlib.crc32(request.node.nodeid.encode()))


class Counted:
    """Counts in `calls` how often Python runs a function: inside jit, how often it is traced."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


@pytest.fixture
def compilations():
    """A list to which every tracing and every compilation inside this test adds its name."""
    names: list[str] = []

    def listen(name, seconds, **more):
        if name.startswith("/jax/core/compile"):
            names.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def count_traces():
    """`counted = count_traces(f)`; `counted.calls` is the traces of `jax.jit(counted)`."""
    return Counted
