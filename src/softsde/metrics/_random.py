"""Random numbers on the host that are determined by a JAX key."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def host_generator(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator seeded with 128 bits drawn from `key`."""
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
