"""Strict numerics for every test: no silent promotion of ranks or dtypes.

Two host devices are made before jax starts, so that sharded code is always tested
on a mesh of more than one device. Programs are compiled in haste: most run once, on
small arrays, and compiling them as for use takes a third of the time of all tests.
"""

import os

os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=2",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
)

import jax
import jaxtyping
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs are kept within one module of tests only.

    Each takes some memory maps of the process, of which there is a limited number: one
    worker that kept the programs of all tests would run out of them.
    """
    yield
    jax.clear_caches()


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
