"""Parts of a network that follow each other, as one loop where they are alike."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._score_levels import Keys


def through(
    parts: Sequence[Any],
    h: Array,
    beside: Sequence[Array | None],
    run: Callable[..., Array],
    keys: Keys,
    scan: bool,
) -> list[Array]:
    """The outputs of parts in a row, each of which reads a map beside the last output.

    With `scan`, parts that are alike are one loop over their stacked arrays.
    """
    kinds, channels = [], h.shape[-1]
    for i, part in enumerate(parts):
        # Parts are alike only if they also read equally many channels of `h`.
        kinds.append((_kind(part), channels) if scan else i)
        channels = part.out_channels

    def advance(h, part, other, key):
        h = h if other is None else jnp.concatenate([h, other], -1)
        return run(part, h, key)

    outputs: list[Array] = []
    for _, places_alike in groupby(range(len(parts)), key=kinds.__getitem__):
        alike = list(places_alike)
        drawn = [next(keys) for _ in alike]
        if len(alike) == 1:
            h = advance(h, parts[alike[0]], beside[alike[0]], drawn[0])
            outputs.append(h)
            continue
        static = eqx.filter(parts[alike[0]], eqx.is_array, inverse=True)
        rows = [
            (eqx.filter(parts[i], eqx.is_array), beside[i], key)
            for i, key in zip(alike, drawn, strict=True)
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)

        def body(h, row, static=static):
            arrays, other, key = row
            h = advance(h, eqx.combine(arrays, static), other, key)
            return h, h

        h, maps = jax.lax.scan(body, h, stacked)
        outputs += [maps[i] for i in range(len(alike))]
    return outputs


def _kind(part: Any) -> tuple:
    """Equal for parts that differ in the values of their arrays alone."""
    leaves, structure = jax.tree.flatten(part)
    return structure, tuple(
        (leaf.shape, leaf.dtype) if eqx.is_array(leaf) else leaf for leaf in leaves
    )
