"""Group normalisation, channels-last."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._at_size import at_least_float32
from ._initial_weights import full


class GroupNorm(eqx.Module):
    """Group normalisation, `y = (x - mean) / sqrt(var + eps) * scale + shift`.

    Mean and variance are taken over all pixels and over the channels of one group
    (Wu & He, 2018), in at least float32. `scale` and `shift` are parameters, or,
    where the caller gives them, functions of time.
    """

    weight: Float[Array, " channels"] | None
    bias: Float[Array, " channels"] | None
    groups: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        group_size: int = 8,
        *,
        affine: bool = True,
        eps: float = 1e-5,
    ):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `group_size`: channels that share a mean and a variance; divides `channels`.
        - `affine`: whether there is a learnt scale and shift.
        - `eps`: added to the variance.
        """
        if channels % group_size:
            raise ValueError(
                f"`group_size` must divide the number of channels; got "
                f"group_size={group_size} for {channels} channels. Choose a divisor "
                f"of {channels}."
            )
        self.weight = full(1.0, channels) if affine else None
        self.bias = full(0.0, channels) if affine else None
        self.groups = channels // group_size
        self.eps = eps

    def __call__(
        self,
        x: Float[Array, "height width channels"],
        scale: Float[Array, " channels"] | None = None,
        shift: Float[Array, " channels"] | None = None,
    ) -> Float[Array, "height width channels"]:
        channels = x.shape[-1]
        dtype = at_least_float32(x.dtype)

        def group_mean(v: Array) -> Array:
            # Over the pixels first: that reduction runs along whole rows of channels
            # (a vector loop), and the one within the groups is then tiny.
            per_channel = jnp.mean(v, axis=(0, 1)).reshape(self.groups, -1)
            per_group = jnp.mean(per_channel, axis=1, keepdims=True)
            return jnp.broadcast_to(per_group, per_channel.shape).reshape(channels)

        # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large.
        centred = x.astype(dtype)
        centred = centred - group_mean(centred)[None, None]
        scaling = jax.lax.rsqrt(group_mean(centred**2) + self.eps)
        scale = self.weight if scale is None else scale
        shift = self.bias if shift is None else shift
        if scale is not None:
            scaling = scaling * scale.astype(dtype)
        y = centred * scaling[None, None]
        if shift is not None:
            y = y + shift.astype(dtype)[None, None]
        return y.astype(x.dtype)
