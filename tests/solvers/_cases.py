"""Processes, data and solves that the tests of solvers share.

Data is a two-component mixture, or a Gaussian written as one, so that one compiled
program serves both.
"""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss
from softsde.terms import ClockedBrownianPath, ControlForm
from softsde.terms._clock import make_clock

from ._paths import TablePath

STEPS = (32, 64, 128, 256)


class Square(ss.schedules.AbstractSchedule):
    """`t ** 2`."""

    def __call__(self, t):
        return jnp.asarray(t) ** 2

    def inverse(self, value):
        return jnp.sqrt(jnp.asarray(value))


class Shear(ss.corruptions.AbstractCorruption):
    """`expm(-theta L)` with `L = [[1, 3], [0, 1/2]]`, which is not normal."""

    def apply(self, theta, x):
        fast, slow = jnp.exp(-theta), jnp.exp(-theta / 2)
        return jnp.stack([fast * x[0] + 6 * (fast - slow) * x[1], slow * x[1]])


def shear():
    return ss.Process(Shear(), Square(), ss.schedules.Geometric(0.2, 1.0))


def blur():
    """Zero-padded and 3 pixels wide: its levels do not commute."""
    return ss.Process(
        ss.corruptions.GaussianBlur((3,), 6),
        ss.schedules.Geometric(0.3, 1.5),
        ss.schedules.Geometric(0.2, 0.8),
    )


class Cosine(ss.schedules.AbstractSchedule):
    """Of a variance-preserving process: `alpha`, or `sigma` of the same."""

    noise: bool

    def __call__(self, t):
        return preserving_numbers(t)[int(self.noise)]

    def inverse(self, value):
        raise NotImplementedError


def preserving_numbers(t):
    """`alpha_t`, `sigma_t`, with `alpha^2 + sigma^2 = 1`."""
    angle = 0.1 + 1.3 * jnp.asarray(t)
    return jnp.cos(angle), jnp.sin(angle)


def preserving():
    return ss.Process(ss.corruptions.Scale(), Cosine(False), Cosine(True))


PROCESSES = {"shear": (shear, 2), "blur": (blur, 3)}


def mixture(dim, *, gaussian=False):
    rng = np.random.default_rng(7)
    means = rng.normal(size=(2, dim))
    roots = 0.7 * rng.normal(size=(2, dim, dim))
    if gaussian:
        means, roots = means[[0, 0]], roots[[0, 0]]
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(dim)
    return ss.oracles.MixtureOracle([0.4, 0.6], means, covariances)


def starts(process, oracle, number, key):
    """Draws of `x_T`."""

    def draw(key):
        data_key, noise_key = jax.random.split(key)
        x0 = oracle.sample(data_key)
        return process.perturb(process.t1, x0, key=noise_key)[0]

    return jax.vmap(draw)(jax.random.split(key, number))


def warp(u):
    """A smooth grid of unequal steps on [0, 1]."""
    return u + 0.1 * jnp.sin(2 * jnp.pi * u)


@eqx.filter_jit
def flow(process, oracle, solver, steps, x1, form="control", forward=False):
    """The probability flow of each start over `steps` unequal steps.

    A bare loop over `step`, compiled once for all numbers of steps; `diffeqsolve` takes
    five times as long to compile. That the two agree is tested with `sample`.
    """
    term = ss.probability_flow(
        process, oracle.denoiser(process), form=form, forward=forward
    )

    def one(start):
        def body(i, carry):
            x, state = carry
            s0, s1 = warp(i / steps), warp((i + 1) / steps)
            x, _, _, state, _ = solver.step(term, s0, s1, x, None, state, False)
            return x, state

        state = solver.init(term, 0.0, warp(1 / steps), start, None)
        return jax.lax.fori_loop(0, steps, body, (start, state))[0]

    return jax.vmap(one)(x1)


@eqx.filter_jit
def exact_flow(process, oracle, x1, tolerance):
    """The flow by Dopri5 in derivative form, and its Jacobian."""
    denoiser = oracle.denoiser(process)
    term = ss.probability_flow(process, denoiser, form="derivative")

    def one(start):
        return diffrax.diffeqsolve(
            term,
            diffrax.Dopri5(),
            0.0,
            1.0,
            dt0=0.01,
            y0=start,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=diffrax.ForwardMode(),
        ).ys[0]

    def with_jacobian(start):
        value, push = jax.linearize(one, start)
        return value, jax.vmap(push)(jnp.eye(start.size)).T

    return jax.vmap(with_jacobian)(x1)


@functools.cache
def case(name, gaussian):
    """A process, data, starts, and where the exact flow takes them."""
    make, dim = PROCESSES[name]
    process, oracle = make(), mixture(dim, gaussian=gaussian)
    x1 = starts(process, oracle, 8, jax.random.key(1))
    truth, _ = exact_flow(process, oracle, x1, jnp.asarray(1e-10))
    return process, oracle, x1, np.asarray(truth)


CASES = [(name, gaussian) for name in PROCESSES for gaussian in (False, True)]


def slope(steps, errors):
    """Minus the slope of the error against the number of steps, in logarithms."""
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def flow_errors(name, gaussian, solver, steps=STEPS, *, form="control", forward=False):
    """Root mean square distance to the exact flow, for each number of steps."""
    process, oracle, start, truth = case(name, gaussian)
    if forward:
        start, truth = jnp.asarray(truth), np.asarray(start)
    ends = [
        flow(process, oracle, solver, jnp.asarray(n), start, form, forward)
        for n in steps
    ]
    return [float(np.sqrt(np.mean((end - truth) ** 2))) for end in ends]


def term_with(
    process, denoiser, clock, normals, form=ControlForm, forward=False, extras=None
):
    """A member of the family, with the normals of its steps given."""
    clock = make_clock(clock, process, forward=forward)
    path = TablePath(normals, process.t1 - process.t0, extras=extras)
    return form(process, denoiser, ClockedBrownianPath(path, clock), forward)


@eqx.filter_jit
def moments(process, oracle, solver, clock, steps, form=ControlForm, forward=False):
    """Exact mean and covariance of what a solver draws from Gaussian data.

    A step is affine in the state, in what the solver remembers, and in the normals, so
    its Jacobian carries the moments over: no Monte Carlo. The remembered values are
    those leaves of the solver's state that are shaped like a sample.
    """
    denoiser = oracle.denoiser(process)
    dim = oracle.mean.size
    remembered = lambda leaf: leaf.ndim > 0

    def step(joint, normals, i, rest):
        term = term_with(process, denoiser, clock, normals[None], form, forward)
        memory = jax.tree.map(
            lambda leaf: joint[dim:] if leaf is None else leaf,
            rest,
            is_leaf=lambda leaf: leaf is None,
        )
        s0, s1 = warp(i / steps), warp((i + 1) / steps)
        x, _, _, memory, _ = solver.step(term, s0, s1, joint[:dim], None, memory, False)
        large, rest = eqx.partition(memory, remembered)
        return jnp.concatenate([x, *jax.tree.leaves(large)]), rest

    def body(i, carry):
        mean, covariance, rest = carry
        zeros = jnp.zeros(dim)
        after, new_rest = step(mean, zeros, i, rest)
        run = lambda joint, normals: step(joint, normals, i, rest)[0]
        by_state, by_noise = jax.jacfwd(run, argnums=(0, 1))(mean, zeros)
        covariance = by_state @ covariance @ by_state.T + by_noise @ by_noise.T
        return after, covariance, new_rest

    begin = process.t0 if forward else process.t1
    mean, covariance = oracle.marginal_moments(process, begin)
    term = term_with(process, denoiser, clock, jnp.zeros((1, dim)), form, forward)
    state = solver.init(term, 0.0, warp(1 / steps), mean, None)
    large, rest = eqx.partition(state, remembered)
    mean = jnp.concatenate([mean, *jax.tree.leaves(large)])
    blank = mean.size - dim
    covariance = jnp.pad(covariance, (0, blank))
    mean, covariance, _ = jax.lax.fori_loop(0, steps, body, (mean, covariance, rest))
    return mean[:dim], covariance[:dim, :dim]


def gaussian_data():
    rng = np.random.default_rng(7)
    root = rng.normal(size=(3, 3))
    return ss.oracles.GaussianOracle(rng.normal(size=3), root @ root.T / 3)


def moment_errors(solver, clock, steps=STEPS, *, form=ControlForm, forward=False):
    """Distance to the moments at the other end, for each number of steps."""
    process, oracle = blur(), gaussian_data()
    clock = make_clock(clock, process, forward=forward)
    end = process.t1 if forward else process.t0
    mean, covariance = oracle.marginal_moments(process, end)
    errors = []
    for n in steps:
        got = moments(process, oracle, solver, clock, jnp.asarray(n), form, forward)
        errors.append(
            float(jnp.linalg.norm(got[0] - mean) + jnp.linalg.norm(got[1] - covariance))
        )
    return errors


def step_moments(process, oracle, solver, clock="flow", extras=0):
    """A function that carries mean and covariance over a step, exactly.

    For solvers without a memory that draw `extras` normals a step of their own.
    """
    denoiser, dim = oracle.denoiser(process), oracle.mean.size

    @jax.jit
    def over(mean, covariance, s0, s1):
        def run(x, normals):
            term = term_with(process, denoiser, clock, normals[:1], extras=normals[1:])
            state = solver.init(term, s0, s1, x, None)
            return solver.step(term, s0, s1, x, None, state, False)[0]

        zeros = jnp.zeros((1 + extras, dim))
        by_state, by_noise = jax.jacfwd(run, argnums=(0, 1))(mean, zeros)
        by_noise = by_noise.reshape(dim, -1)
        covariance = by_state @ covariance @ by_state.T + by_noise @ by_noise.T
        return run(mean, zeros), covariance

    return over
