"""Guidance by the same model without its condition."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._types import Condition, Sample
from ..denoisers import AbstractDenoiser, unconditional
from ._parts import AbstractGuidance, Interval, as_interval, as_scale, check_denoiser


class ClassifierFree(AbstractGuidance):
    r"""Classifier-free guidance: $D = D_\varnothing + w\, (D_c - D_\varnothing)$.

    The two denoisers are one, with and without the condition, evaluated as a batch of
    two. Without a condition it is $D_\varnothing$, in one evaluation.

    ??? cite "References"

        Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022. Kynkäänniemi et
        al., *Applying Guidance in a Limited Interval*, 2024.
    """

    denoiser: AbstractDenoiser
    scale: Float[Array, "..."]
    interval: Interval = eqx.field(static=True)

    def __init__(
        self,
        denoiser: AbstractDenoiser,
        scale: Float[ArrayLike, "..."],
        interval: Interval = None,
    ):
        """**Arguments:**

        - `denoiser`: one that was trained with `drop_condition`.
        - `scale`: $w$; 1 is the conditional denoiser, 0 the unconditional one. (Ho and
            Salimans count from the conditional one: their $w$ is one less.)
        - `interval`: the times `(t_low, t_high)` of guidance; at others $D_c$ is
            evaluated alone. `None` is all times.
        """
        self.denoiser = check_denoiser("ClassifierFree", "denoiser", denoiser)
        self.scale, self.interval = as_scale(scale), as_interval(interval)

    def guided(self, t: Array, x: Sample, condition: Condition, key: Any) -> Sample:
        plain = lambda c: self.denoiser(t, x, c, key=key)
        if condition is None:
            return plain(None)
        nothing = unconditional(condition)
        pair = jax.tree.map(lambda *c: jnp.stack(c), condition, nothing)
        given, free = jax.vmap(plain)(pair)
        return free + self.scale.astype(free.dtype) * (given - free)
