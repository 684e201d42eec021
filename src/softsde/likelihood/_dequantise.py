"""Uniform dequantisation: from values on a grid to a density."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._checks import check_samples
from .._types import Key, Sample


def dequantise(
    x: Sample,
    *,
    levels: int = 256,
    data_range: tuple[float, float] = (0.0, 1.0),
    key: Key,
) -> Sample:
    r"""Spreads each value of an image over the cell that it stands for.

    With `levels` values from $a$ to $b$, the value $x = a + (b - a)\, i / (L - 1)$
    becomes $a + (b - a)(i + U) / L$ with $U$ uniform on $[0, 1)$: for bytes in [0, 1],
    $(255 x + U) / 256$. The cells tile $[a, b]$, and each holds its own value.

    **Arguments:**

    - `x`: one image with values on the grid.
    - `levels`: $L$, how many values there are: 256 for bytes.
    - `data_range`: $(a, b)$, the least and the greatest value.
    - `key`: of $U$.

    **Returns:** an array shaped like `x`.

    **Raises:** `ValueError` for fewer than two levels, or a range that is not
    increasing; an error when it runs for values that are off the grid.

    !!! example

        ```python
        image = jnp.round(255 * image) / 255
        smooth = ss.likelihood.dequantise(image, key=key)
        ```
    """
    check_samples("dequantise", x)
    low, _ = data_range
    width = cell_width("dequantise", levels, data_range)
    # In units of a cell, where the grid has gaps of (L - 1) / L.
    exact = (x - low) / (width * levels / (levels - 1))
    index = jnp.round(exact)
    off = jnp.any((jnp.abs(exact - index) > 0.05) | (index < 0) | (index >= levels))
    index = eqx.error_if(
        index,
        off,
        f"`dequantise` got values off the grid of {levels} values from "
        f"{data_range[0]} to {data_range[1]}. Images of bytes are `bytes / 255` for "
        "`data_range=(0, 1)`; what is not quantised needs no dequantisation "
        "(`dequantise=False`).",
    )
    return low + width * (index + jax.random.uniform(key, x.shape, x.dtype))


def cell_width(owner: str, levels: int, data_range: tuple[float, float]) -> float:
    """The side of a cell in the units of the data, checked."""
    low, high = data_range
    if levels < 2:
        raise ValueError(f"`{owner}` got `levels={levels}`; expected at least 2.")
    if not low < high:
        raise ValueError(
            f"`{owner}` got `data_range={data_range}`; expected the least value before "
            "the greatest."
        )
    return (high - low) / levels
