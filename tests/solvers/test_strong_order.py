"""Strong order: on one Brownian path, all numbers of steps draw nearly one sample."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import PaperClock

from ._cases import blur, gaussian_data, slope

FINEST = 256


class SampledPath(diffrax.AbstractBrownianPath):
    """A Brownian path known at the times at which the finest grid reads the clock."""

    times: jnp.ndarray
    values: jnp.ndarray
    levy_area: type = diffrax.BrownianIncrement

    @property
    def t0(self):
        return self.times[0]

    @property
    def t1(self):
        return self.times[-1]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        at = lambda t: jax.vmap(jnp.interp, (None, None, 1))(t, self.times, self.values)
        return at(t1) - at(t0)


@eqx.filter_jit
def ends(process, oracle, solver, steps, keys):
    clock = PaperClock(process)
    times = jax.vmap(clock)(jnp.arange(FINEST + 1) / FINEST)

    def one(key):
        normals = jax.random.normal(key, (FINEST, 3))
        rises = jnp.sqrt(jnp.diff(times))[:, None] * normals
        values = jnp.concatenate([jnp.zeros((1, 3)), jnp.cumsum(rises, axis=0)])
        path = SampledPath(times, values)
        term = ss.reverse_sde(process, oracle.denoiser(process), path=path)

        def body(i, carry):
            x, state = carry
            s0, s1 = i / steps, (i + 1) / steps
            x, _, _, state, _ = solver.step(term, s0, s1, x, None, state, False)
            return x, state

        x = jnp.ones(3)
        state = solver.init(term, 0.0, 1 / steps, x, None)
        return jax.lax.fori_loop(0, steps, body, (x, state))[0]

    return jax.vmap(one)(keys)


@pytest.mark.parametrize(
    "solver",
    [ss.Momentum(), ss.HeunMomentum(), ss.Multistep(), ss.Multistep(order=1)],
    ids=["momentum", "heun", "multistep", "ddim"],
)
def test_strong_order_1(x64, key, solver):
    """By the root mean square distance of successive halvings, over 100 paths."""
    process, oracle = blur(), gaussian_data()
    keys = jax.random.split(key, 100)
    steps = (16, 32, 64, 128, 256)
    drawn = [ends(process, oracle, solver, jnp.asarray(n), keys) for n in steps]
    gaps = [np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(drawn)]
    assert slope(steps[:-1], gaps) == pytest.approx(1, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver, order",
    [
        (diffrax.Euler(), 1),
        (diffrax.ShARK(scan_kind="lax"), 2),
        (diffrax.SRA1(scan_kind="lax"), 2),
    ],
    ids=["euler", "shark", "sra1"],
)
def test_strong_order_of_diffrax_solvers(x64, key, solver, order):
    """In derivative form, on trees that know their Levy areas: 40 paths, as above.

    Stochastic Runge-Kutta methods are of order 1.5, and of 2 where the drift is linear.
    """
    process, oracle = blur(), gaussian_data()

    @jax.jit
    def ends(steps):
        def one(key):
            path = diffrax.VirtualBrownianTree(
                0.0, 1.0, 2.0**-10, (3,), key, levy_area=diffrax.SpaceTimeLevyArea
            )
            term = ss.reverse_sde(
                process, oracle.denoiser(process), form="derivative", path=path
            )

            def body(i, carry):
                x, state = carry
                times = i / steps, (i + 1) / steps
                x, _, _, state, _ = solver.step(term, *times, x, None, state, False)
                return x, state

            x = jnp.ones(3)
            state = solver.init(term, 0.0, 1 / steps, x, None)
            return jax.lax.fori_loop(0, steps, body, (x, state))[0]

        return jax.vmap(one)(jax.random.split(key, 40))

    steps = (32, 64, 128, 256, 512)
    drawn = [ends(jnp.asarray(n)) for n in steps]
    gaps = [np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(drawn)]
    assert slope(steps[:-1], gaps) == pytest.approx(order, abs=0.15)
