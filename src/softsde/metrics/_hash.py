"""Content hashes of weights, images and statistics."""

import hashlib
import re
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def hash_tree(tree: PyTree) -> str:
    """SHA-256 of the arrays and the structure of a tree, in hexadecimal.

    Trees with the same structure, the same static fields and the same arrays have the
    same hash, also on another machine. Addresses, which are printed for functions, do
    not count.
    """
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(_without_addresses(str(structure)))
    for leaf in leaves:
        update(digest, leaf)
    return digest.hexdigest()


def update(digest: Any, leaf: Any) -> None:
    """Counts one array (type, shape and bytes) or other value into `digest`."""
    if isinstance(leaf, np.ndarray | np.generic | jax.Array):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        # By blocks, so that a memory map is not read at once.
        rows = array if array.ndim else array[None]
        for start in range(0, len(rows), 4096):
            digest.update(rows[start : start + 4096].tobytes())
    else:
        digest.update(_without_addresses(repr(leaf)))


def _without_addresses(text: str) -> bytes:
    return re.sub(r" at 0x[0-9a-f]+", "", text).encode()
