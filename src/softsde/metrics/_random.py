"""Random numbers on the host that are determined by a JAX key."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def host_generator(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator seeded with the words of `key`, which its seeding hashes."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
