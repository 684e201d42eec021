"""Guidance by the same model without its condition."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._types import Condition, Key, Sample, ScalarLike
from ..denoisers import AbstractDenoiser, unconditional
from ..processes import Process
from ._parts import Interval, as_interval, as_scale, check_denoiser, guide_within


class ClassifierFree(AbstractDenoiser):
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

    @property
    def process(self) -> Process:
        """The process of the denoiser that is guided."""
        return self.denoiser.process

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        t = jnp.asarray(t, x.dtype)
        plain = lambda c: self.denoiser(t, x, c, key=key)
        if condition is None:
            return plain(None)

        def guided():
            nothing = unconditional(condition)
            pair = jax.tree.map(lambda *c: jnp.stack(c), condition, nothing)
            given, free = jax.vmap(plain)(pair)
            return free + self.scale.astype(free.dtype) * (given - free)

        return guide_within(self.interval, t, guided, lambda: plain(condition))
