"""Discrete noise levels, on which annealed score matching trains and samples."""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._checks import check_positive


def _geometric(u, first, last):
    return first * (last / first) ** u


def _affine(u, first, last):
    return first + (last - first) * u


def _cosine(u, first, last):
    return first * np.cos(math.acos(last / first) * u)


_SEQUENCES = {"geometric": _geometric, "affine": _affine, "cosine": _cosine}


def _sigmoid(i, first, last, m, p, a, b):
    """`m s(a i + b) + p`; what is `None` follows from the two ends."""
    m = first + last - 2 * p if m is None else m
    low, high = (first - p) / m, (last - p) / m
    if a is None and not (0 < high < low < 1):
        raise ValueError(
            f"`noise_sequence` got `m={m}` and `p={p}`, a sigmoid between {p} and "
            f"{p + m}; its ends {first} and {last} must lie strictly inside."
        )
    if a is None:
        logit = lambda share: math.log(share / (1 - share))
        b = logit(low)
        a = (logit(high) - b) / (len(i) - 1)
    return m / (1 + np.exp(-(a * i + b))) + p


def noise_sequence(
    name: Literal["geometric", "affine", "cosine", "sigmoid"],
    num: int = 200,
    first: float = 1.0,
    last: float = 0.01,
    *,
    m: float | None = None,
    p: float = 0.0,
    a: float | None = None,
    b: float | None = None,
) -> Float[np.ndarray, " num"]:
    r"""A decreasing sequence of noise levels, both ends included.

    With $u = i / (n - 1)$ for $i = 0, \dots, n - 1$, $f$ the level `first` and $l$ the
    level `last`:

    | `name` | $\sigma_i$ |
    | --- | --- |
    | `"geometric"` | $f\, (l / f)^u$ |
    | `"affine"` | $f + (l - f)\, u$ |
    | `"cosine"` | $f \cos(a i + b)$, $b = 0$, $a = \arccos(l / f) / (n - 1)$ |
    | `"sigmoid"` | $m\, \mathrm{s}(a i + b) + p$, $\mathrm{s}(v) = 1 / (1 + e^{-v})$ |

    The cosine is a quarter of a period without the part below `last`. Of the four
    numbers of the sigmoid the two ends determine two. By default they are $a$ and $b$,
    at $p = 0$ and the $m$ with which the curve is symmetric, $m = f + l - 2p$: then it
    is $(f + l) / (1 + e^{k (u - \frac12)})$ with $k = 2 \log(f / l)$. ($m = 1$ would
    not allow `first=1`, since a logistic curve does not reach its limit.)

    **Arguments:**

    - `name`: the shape.
    - `num`: the number of levels, at least two.
    - `first`, `last`: the largest and the smallest level; positive.
    - `m`, `p`: of the sigmoid, its height and its least value. `first` and `last` must
        lie strictly between `p` and `p + m`.
    - `a`, `b`: of the sigmoid, its slope and its offset, both or neither. With them the
        levels are the formula's, and `first` and `last` are not used.

    **Returns:** the levels, from `first` down to `last`.

    **Raises:** `ValueError` for an unknown name, fewer than two levels, levels that do
    not fall, or parameters that the sequence does not have.
    """
    if name not in (*_SEQUENCES, "sigmoid"):
        raise ValueError(
            f"Unknown noise sequence {name!r}; expected one of "
            f"{(*_SEQUENCES, 'sigmoid')}."
        )
    if name != "sigmoid" and (p, m, a, b) != (0.0, None, None, None):
        raise ValueError(
            f"`noise_sequence` got parameters of the sigmoid for {name!r}, which its "
            "two ends determine. Leave `m`, `p`, `a` and `b` out."
        )
    if (a is None) != (b is None):
        raise ValueError(
            f"`noise_sequence` got `a={a}` and `b={b}`; expected both, or neither: "
            "then they follow from `first` and `last`."
        )
    if num < 2:
        raise ValueError(f"`noise_sequence` needs at least two levels, got {num}.")
    check_positive("noise_sequence", "last", last)
    if not first > last:
        raise ValueError(
            f"`noise_sequence` needs `first` > `last`, got {first} and {last}."
        )
    if name == "sigmoid":
        levels = _sigmoid(np.arange(num), first, last, m, p, a, b)
    else:
        levels = _SEQUENCES[name](np.linspace(0.0, 1.0, num), first, last)
    if a is None:
        # The ends are exact, whatever the rounding between.
        levels[0], levels[-1] = first, last
    elif not (np.all(np.diff(levels) < 0) and levels[-1] > 0):
        raise ValueError(
            f"`noise_sequence` got `m={m}`, `p={p}`, `a={a}`, `b={b}`: levels from "
            f"{levels[0]} to {levels[-1]}, which do not fall, or not above 0. Take "
            "`a` < 0 < `m`."
        )
    # Levels are made before JAX may look for its devices: by the options of a command.
    return levels.astype(jnp.result_type(float))
