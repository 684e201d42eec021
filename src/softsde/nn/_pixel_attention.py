"""The self-attention of DDPM and NCSN++: one head over all pixels."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ._at_size import at_least_float32
from ._group_norm import GroupNorm
from ._initial_weights import split
from ._linear import Linear
from ._published import MATRIX, VECTOR, Place, places
from ._score_norm import score_norm


class PixelAttention(eqx.Module):
    r"""Residual self-attention of one head over the pixels of a feature map.

    $$y = \frac{x + \operatorname{softmax}(Q K^\top / \sqrt{c})\, V W}{\sqrt 2},$$

    where $Q, K, V$ are linear in the normalised $x$ of $c$ channels. $W$ starts
    at nearly zero. Without `rescale` there is no $\sqrt 2$.

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
    """

    norm: GroupNorm
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    rescale: bool = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        *,
        rescale: bool = True,
        init_scale: float = 0.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `rescale`: whether the sum is divided by $\\sqrt 2$.
        - `init_scale`: variance of the initial output, 0 for nearly zero.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.norm = score_norm(channels)
        self.query, self.key, self.value = (
            Linear(channels, channels, fan_average=0.1, key=next(keys))
            for _ in range(3)
        )
        self.out = Linear(channels, channels, fan_average=init_scale, key=next(keys))
        self.rescale = rescale

    def __call__(
        self, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        height, width, channels = x.shape
        pixels = self.norm(x).reshape(height * width, channels)
        query, key, value = self.query(pixels), self.key(pixels), self.value(pixels)
        logits = (query @ key.T).astype(at_least_float32(x.dtype))
        weights = jax.nn.softmax(logits * channels**-0.5, axis=-1).astype(x.dtype)
        y = x + self.out(weights @ value).reshape(x.shape)
        return y / 2**0.5 if self.rescale else y

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        parts = enumerate(("query", "key", "value", "out"))
        return places(
            ("GroupNorm_0.weight", "norm.weight", VECTOR),
            ("GroupNorm_0.bias", "norm.bias", VECTOR),
        ) | places(
            *(
                entry
                for i, part in parts
                for entry in (
                    (f"NIN_{i}.W", f"{part}.weight", MATRIX),
                    (f"NIN_{i}.b", f"{part}.bias", VECTOR),
                )
            )
        )
