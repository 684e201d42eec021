"""Loss of colour: each pixel moves towards its grey."""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._types import Sample, ScalarLike
from ._machinery import AbstractCorruption, Structure, working_dtype

# ITU-R BT.601, of red, green and blue.
_LUMA = (0.299, 0.587, 0.114)


class Desaturate(AbstractCorruption):
    r"""Moves each pixel towards its grey, all the way at $\theta = 1$.

    $C(\theta) x = (1 - \theta)\, x + \theta\, g(x)$, where each channel of $g(x)$ is
    the weighted mean of all channels. With equal weights $g$ is the orthogonal
    projection onto grey images, and the family is symmetric and positive. With the
    weights of perceived brightness the projection is oblique, and the family is
    neither. Levels commute.

    !!! example

        ```python
        grey = ss.corruptions.Desaturate("luma").apply(1.0, jnp.ones((8, 8, 3)))
        ```
    """

    weights: Literal["mean", "luma"] | tuple[float, ...] = eqx.field(static=True)

    def __init__(self, weights: Literal["mean", "luma"] | Sequence[float] = "mean"):
        """**Arguments:**

        - `weights`: the weight of each channel in the grey. `"mean"` is for equal
            weights, `"luma"` for 0.299, 0.587 and 0.114 of red, green and blue (ITU-R
            BT.601); otherwise one number a channel, not negative, with the sum 1.

        **Raises:** `ValueError` for other weights.
        """
        if isinstance(weights, str):
            if weights not in ("mean", "luma"):
                raise ValueError(
                    f"`Desaturate` got `weights={weights!r}`; expected 'mean', 'luma' "
                    "or one number a channel."
                )
            self.weights = weights
            return
        numbers = np.asarray(weights, np.float64)
        if not (np.all(numbers >= 0) and abs(numbers.sum() - 1) < 1e-6):
            raise ValueError(
                f"`Desaturate` got `weights={numbers.tolist()}`; expected numbers "
                "that are not negative, with the sum 1, so that grey stays grey."
            )
        self.weights = tuple(numbers.tolist())

    @property
    def structure(self) -> Structure:
        numbers = self._numbers()
        return Structure(
            positive_semidefinite=numbers is None or len(set(numbers)) == 1,
            commuting=True,
            differentiable=True,
            level_range=(0.0, 1.0),
            identity_level=0.0,
        )

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        channels, numbers = x.shape[-1], self._numbers()
        if x.ndim != 3 or (numbers and len(numbers) != channels):
            raise ValueError(
                f"`Desaturate` got a sample of shape {x.shape}; expected (height, "
                f"width, {len(numbers) if numbers else 'channels'})."
            )
        theta = jnp.asarray(theta, working_dtype(x))
        y = x.astype(theta.dtype)
        weights = numbers or (1 / channels,) * channels
        # Channel by channel: a TPU would round a matrix product, and XLA on a CPU is
        # slow to reduce an axis as short as this.
        grey = sum(w * y[..., c : c + 1] for c, w in enumerate(weights))
        return ((1 - theta) * y + theta * grey).astype(x.dtype)

    def _numbers(self) -> tuple[float, ...] | None:
        """The weights as numbers, `None` for equal ones."""
        if self.weights == "mean":
            return None
        return _LUMA if self.weights == "luma" else self.weights
