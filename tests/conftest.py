"""Strict numerics for every test: no silent promotion of ranks or dtypes.

Two host devices are made before jax starts, so that sharded code is always tested
on a mesh of more than one device. Programs are compiled in haste: most run once, on
small arrays, and compiling them as for use takes a third of the time of all tests.
Slow tests run theirs for minutes, so theirs are compiled as for use.
"""

import importlib.util
import mmap
import os
from pathlib import Path

flags = [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=2",
]


def _known(flag: str) -> bool:
    """Tells if this jaxlib has a flag: XLA ends the process at one that it has not."""
    jaxlib = importlib.util.find_spec("jaxlib")
    assert jaxlib is not None and jaxlib.origin is not None
    for library in Path(jaxlib.origin).parent.glob("libjax_common.*"):
        with open(library, "rb") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(flag.encode()) >= 0
    return False


# The newer emitters take nearly twice as long to compile a fusion.
if _known("xla_cpu_use_fusion_emitters"):
    flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(flags)
# In the environment too: processes that tests start inherit it.
IN_HASTE = "JAX_DISABLE_MOST_OPTIMIZATIONS"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs are forgotten before they take too many memory maps.

    Each takes some maps of the process, of which Linux allows 65,530 by default: one
    worker that kept the programs of all tests would run out of them.
    """
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 10_000:
        jax.clear_caches()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before all fixtures, decides how the programs of a test are compiled.

    In haste, a thousand samples by 3,000 adaptive steps took 10 minutes, and not three.
    The examples of the docs are slow by their number only.
    """
    slow = item.get_closest_marker("slow") is not None
    in_haste = not slow or item.path.name == "test_docs.py"
    if os.environ.get(IN_HASTE) == str(in_haste):
        return
    # A program that was compiled the other way has other roundings.
    jax.clear_caches()
    os.environ[IN_HASTE] = str(in_haste)
    jax.config.update(IN_HASTE.lower(), in_haste)


@pytest.fixture
def key():
    """A fixed key: statistical tests state a tolerance for this very draw."""
    return jax.random.key(20220912)


@pytest.fixture
def x64():
    """Double precision, for comparison with closed-form truth."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def as_a_user():
    """Without the run-time type checker: what somebody sees who does not run it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
