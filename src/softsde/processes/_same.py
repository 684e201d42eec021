"""Tells whether two processes are one."""

from typing import Any

import jax
import numpy as np

from .._checks import concrete
from ._process import Process


def same_process(a: Process, b: Process) -> bool:
    """Tells whether two processes have the same classes, functions and numbers.

    Numbers may differ by rounding, 1e-5 of their size, and in dtype. A traced number is
    taken to be equal, since its value is not known. Functions are compared by identity:
    two processes that hold two functions differ, whatever the functions compute.

    **Arguments:**

    - `a`, `b`: two processes.
    """
    leaves_a, structure_a = jax.tree.flatten(a)
    leaves_b, structure_b = jax.tree.flatten(b)
    if structure_a != structure_b:
        return False
    return all(map(_same_leaf, leaves_a, leaves_b))


def _same_leaf(a: Any, b: Any) -> bool:
    a, b = concrete(a), concrete(b)
    if a is None or b is None:
        return True
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-8)
