"""A Brownian path whose normals are given, so that a solve is a function of them."""

import diffrax
import jax.numpy as jnp

from softsde.terms._brownian import _increment, fresh_normal, rescaled_increment


class TablePath(diffrax.AbstractBrownianPath):
    """The increment over the `i`-th step of a uniform grid is `sqrt(h) normals[i]`."""

    normals: jnp.ndarray
    length: float
    levy_area: type = diffrax.BrownianIncrement
    #: What a solver draws beyond its increments, the same in every step.
    extras: jnp.ndarray | None = None

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return self.length

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        steps = self.normals.shape[0]
        step = jnp.round(t0 * steps / self.length).astype(int)
        return jnp.sqrt(t1 - t0) * self.normals[step]


# Like `UnsafeBrownianPath`, it knows increments only: a clock rescales them.
_increment.register(TablePath, rescaled_increment)


@fresh_normal.register(TablePath)
def _(path, s0, s1, index):
    assert path.extras is not None
    return path.extras[index]
