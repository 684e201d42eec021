"""Strong order: on one Brownian path, all numbers of steps draw nearly one sample."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import blur, gaussian_data, slope

import softsde as ss

FINEST = 256


class SampledPath(diffrax.AbstractBrownianPath):
    """A Brownian path known at the times of the finest grid."""

    values: jnp.ndarray
    levy_area: type = diffrax.BrownianIncrement

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return 1.0

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        at = lambda s: self.values[jnp.round(s * FINEST).astype(int)]
        return at(t1) - at(t0)


@eqx.filter_jit
def ends(denoiser, solver, clock, steps, keys):
    def one(key):
        rises = jax.random.normal(key, (FINEST, 3)) / np.sqrt(FINEST)
        values = jnp.concatenate([jnp.zeros((1, 3)), jnp.cumsum(rises, axis=0)])
        term = ss.reverse_sde(denoiser, clock=clock, path=SampledPath(values))

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
    "solver, clock",
    [
        (ss.Momentum(), "sde"),
        pytest.param(ss.Momentum(), ss.clocks.Churn(3.0), marks=pytest.mark.slow),
        (ss.Heun(), "sde"),
        pytest.param(ss.Heun("normalised"), "sde", marks=pytest.mark.slow),
        (ss.Multistep(), "sde"),
        pytest.param(ss.Multistep(order=1), "sde", marks=pytest.mark.slow),
        (diffrax.Euler(), "sde"),
    ],
    ids=[
        "momentum",
        "momentum-churn",
        "heun",
        "normalised heun",
        "multistep",
        "multistep 1",
        "diffrax.Euler",
    ],
)
def test_strong_order_1(x64, key, solver, clock):
    """By the root mean square distance of successive halvings, over 100 paths."""
    denoiser = gaussian_data().denoiser(blur())
    keys = jax.random.split(key, 100)
    steps = (16, 32, 64, 128, 256)
    drawn = [ends(denoiser, solver, clock, jnp.asarray(n), keys) for n in steps]
    gaps = [np.sqrt(np.mean((a - b) ** 2)) for a, b in itertools.pairwise(drawn)]
    assert slope(steps[:-1], gaps) == pytest.approx(1, abs=0.15)


def test_one_path_for_every_solver(x64, key):
    """On the finest grid all solvers draw nearly the same sample, ours and diffrax's:
    the path is the same object for all of them."""
    denoiser = gaussian_data().denoiser(blur())
    keys = jax.random.split(key, 100)
    solvers = (diffrax.Euler(), ss.Momentum(), ss.Multistep())
    drawn = [
        np.asarray(ends(denoiser, s, "sde", jnp.asarray(256), keys)) for s in solvers
    ]
    spread = np.std(drawn[0], axis=0).min()
    for end in drawn[1:]:
        assert np.abs(end - drawn[0]).max() < 0.06 * spread


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
    """On trees that know their Levy areas: 40 paths, as above.

    Stochastic Runge-Kutta methods are of order 1.5, and of 2 where the drift is linear.
    """
    process, oracle = blur(), gaussian_data()

    @jax.jit
    def ends(steps):
        def one(key):
            path = diffrax.VirtualBrownianTree(
                0.0, 1.0, 2.0**-10, (3,), key, levy_area=diffrax.SpaceTimeLevyArea
            )
            term = ss.reverse_sde(oracle.denoiser(process), path=path)

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
