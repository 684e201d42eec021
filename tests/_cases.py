"""Processes, data and solves that tests of several rooms share.

Data is a two-component mixture, or a Gaussian written as one, so that one compiled
program serves both.
"""

import functools
import itertools
import math

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from _paths import TablePath, given_fresh

import softsde as ss

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


def shear_numbers(t):
    """`C_t` and `sigma_t` of the shear, by SciPy."""
    shearing = np.array([[1.0, 3.0], [0.0, 0.5]])
    return scipy.linalg.expm(-(t**2) * shearing), 0.2 * 5**t


def blur():
    """Zero-padded and 3 pixels wide: its levels do not commute."""
    return ss.Process(
        ss.corruptions.GaussianBlur((3,), 6),
        ss.schedules.Geometric(0.3, 1.5),
        ss.schedules.Geometric(0.2, 0.8),
    )


def heat():
    """The heat equation on images, with levels and noise that are smooth in time."""
    return ss.Process(
        ss.corruptions.HeatBlur((3, 2, 1)),
        ss.schedules.Linear(0.0, 2.0),
        ss.schedules.Geometric(0.15, 0.6),
    )


class Cosine(ss.schedules.AbstractSchedule):
    """The cosine schedule of a variance-preserving process: `alpha`, or `sigma`."""

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


def wavy(process):
    """A denoiser that is exact for no data, for tests of a formula."""
    return ss.FunctionDenoiser(lambda t, x: jnp.sin(x) + t, process)


def mixture(dim, *, gaussian=False):
    rng = np.random.default_rng(7)
    means = rng.normal(size=(2, dim))
    roots = 0.7 * rng.normal(size=(2, dim, dim))
    if gaussian:
        means, roots = means[[0, 0]], roots[[0, 0]]
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(dim)
    return ss.oracles.MixtureOracle([0.4, 0.6], means, covariances)


def gaussian_data(dim=3):
    rng = np.random.default_rng(7)
    root = rng.normal(size=(dim, dim))
    return ss.oracles.GaussianOracle(rng.normal(size=dim), root @ root.T / dim)


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


def one_step(solver, term, x, s0, s1, condition=None):
    """The state after a first step, without diffrax's loop."""
    state = solver.init(term, s0, s1, x, condition)
    return solver.step(term, s0, s1, x, condition, state, False)[0]


@eqx.filter_jit
def follow(term, solver, steps, start):
    """The end of `steps` unequal steps of any solver.

    A bare loop over `step`, compiled once for all numbers of steps; `diffeqsolve` takes
    five times as long to compile. That the two agree is tested in
    `tests/terms/test_one_term.py`.
    """

    def body(i, carry):
        x, state = carry
        s0, s1 = warp(i / steps), warp((i + 1) / steps)
        x, _, _, state, _ = solver.step(term, s0, s1, x, None, state, False)
        return x, state

    state = solver.init(term, 0.0, warp(1 / steps), start, None)
    return jax.lax.fori_loop(0, steps, body, (start, state))[0]


@eqx.filter_jit
def flow(denoiser, solver, steps, x1, forward=False):
    """The probability flow of each start."""
    term = ss.probability_flow(denoiser, forward=forward)
    return jax.vmap(lambda start: follow(term, solver, steps, start))(x1)


def exact_flow(denoiser, x1):
    """The flow by 500 steps of order 5, whose error is about 1e-12."""
    return flow(denoiser, diffrax.Dopri5(scan_kind="lax"), jnp.asarray(500), x1)


@functools.cache
def case(name, gaussian):
    """An exact denoiser, starts, and where the exact flow takes them."""
    make, dim = PROCESSES[name]
    process, oracle = make(), mixture(dim, gaussian=gaussian)
    x1 = starts(process, oracle, 8, jax.random.key(1))
    denoiser = oracle.denoiser(process)
    return denoiser, x1, np.asarray(exact_flow(denoiser, x1))


CASES = [(name, gaussian) for name in PROCESSES for gaussian in (False, True)]


def slope(steps, errors):
    """Minus the slope of the error against the number of steps, in logarithms."""
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def flow_errors(name, gaussian, solver, steps=STEPS, *, forward=False):
    """Root mean square distance to the exact flow, for each number of steps."""
    denoiser, start, truth = case(name, gaussian)
    if forward:
        start, truth = jnp.asarray(truth), np.asarray(start)
    ends = [flow(denoiser, solver, jnp.asarray(n), start, forward) for n in steps]
    return [float(np.sqrt(np.mean((end - truth) ** 2))) for end in ends]


def term_with(denoiser, clock, normals, *, forward=False, areas=None):
    """A member of the family, with the normals of its steps given."""
    process = denoiser.process
    path = TablePath(normals, process.t1 - process.t0, areas)
    make = ss.forward_sde if forward else ss.reverse_sde
    return make(denoiser, clock=clock, path=path)


def affine_step(oracle, process, solver, clock, *, forward=False, own=0):
    """A step as a function of all that it is affine in, and its first arguments.

    With Gaussian data a step is affine in the state, in what the solver remembers, and
    in the normals: those of the path (an increment, and a Levy area for solvers that
    want one) and `own` of the solver's own. What it remembers are those leaves of its
    state that are shaped like a sample; the rest is passed along.
    """
    denoiser, shape = oracle.denoiser(process), oracle.mean.shape
    dim = math.prod(shape)
    large = lambda leaf: eqx.is_array(leaf) and leaf.shape == shape and leaf.ndim > 0

    def pack(x, state):
        remembered, rest = eqx.partition(state, large)
        leaves, tree = jax.tree.flatten(remembered)
        joint = jnp.concatenate([part.reshape(-1) for part in (x, *leaves)])
        return joint, (rest, tree)

    def unpack(joint, tree):
        parts = joint.reshape(-1, *shape)
        return parts[0], jax.tree.unflatten(tree, list(parts[1:]))

    def term_of(normals):
        first, areas = normals[:1], normals[1:2]
        return term_with(denoiser, clock, first, forward=forward, areas=areas)

    def begin(mean, s0, s1):
        term = term_of(jnp.zeros((2, *shape)))
        x = mean.reshape(shape)
        joint, (rest, tree) = pack(x, solver.init(term, s0, s1, x, None))
        return joint, rest, tree

    def step(joint, normals, s0, s1, rest, tree):
        x, remembered = unpack(joint, tree)
        state = eqx.combine(remembered, rest)
        normals = normals.reshape(-1, *shape)
        with given_fresh(normals[2:]):
            x, _, _, state, _ = solver.step(
                term_of(normals[:2]), s0, s1, x, None, state, False
            )
        joint, (rest, _) = pack(x, state)
        return joint, rest

    def moments(mean, covariance, s0, s1, rest, tree):
        """The same for mean and covariance, by the Jacobians: no Monte Carlo."""
        zeros = jnp.zeros((2 + own) * dim)
        run = lambda joint, normals: step(joint, normals, s0, s1, rest, tree)
        (by_state, by_noise), _ = jax.jacfwd(run, argnums=(0, 1), has_aux=True)(
            mean, zeros
        )
        mean, rest = run(mean, zeros)
        covariance = by_state @ covariance @ by_state.T + by_noise @ by_noise.T
        return mean, covariance, rest

    return begin, moments


@eqx.filter_jit
def moments(oracle, process, solver, clock, steps, forward=False, own=0):
    """Exact mean and covariance of what a solver draws from Gaussian data."""
    begin, over = affine_step(oracle, process, solver, clock, forward=forward, own=own)
    length, dim = process.t1 - process.t0, oracle.mean.size
    at = lambda i: length * warp(i / steps)
    time = process.t0 if forward else process.t1
    mean, covariance = oracle.marginal_moments(process, time)
    joint, rest, tree = begin(mean, at(0), at(1))
    covariance = jnp.pad(covariance, (0, joint.size - dim))

    def body(i, carry):
        mean, covariance, rest = carry
        return over(mean, covariance, at(i), at(i + 1), rest, tree)

    mean, covariance, _ = jax.lax.fori_loop(0, steps, body, (joint, covariance, rest))
    return mean[:dim], covariance[:dim, :dim]


def moment_errors(
    solver,
    clock,
    steps=STEPS,
    *,
    process=None,
    oracle=None,
    forward=False,
    own=0,
):
    """Distance to the moments at the other end, for each number of steps."""
    process = blur() if process is None else process
    oracle = gaussian_data() if oracle is None else oracle
    end = process.t1 if forward else process.t0
    mean, covariance = oracle.marginal_moments(process, end)
    errors = []
    for n in steps:
        got = moments(oracle, process, solver, clock, jnp.asarray(n), forward, own)
        errors.append(
            float(jnp.linalg.norm(got[0] - mean) + jnp.linalg.norm(got[1] - covariance))
        )
    return errors


def check_order(errors, order, steps=STEPS):
    """The slope is the order within 0.15, and the limit is the truth.

    By Richardson's extrapolation what is left in the limit is about zero.
    """
    assert abs(slope(steps, errors) - order) < 0.15, errors
    assert abs(2**order * errors[-1] - errors[-2]) < 0.1 * errors[-2], errors


def carried_moments(oracle, process, solver, grid, start, *, clock="ode", own=0):
    """Mean and covariance after the steps of a grid of `s`, from given ones."""
    begin, over = affine_step(oracle, process, solver, clock, own=own)
    grid = [jnp.asarray(s, float) for s in grid]
    dim = oracle.mean.size
    mean, rest, tree = begin(start[0], grid[0], grid[1])
    covariance = jnp.pad(jnp.asarray(start[1]), (0, mean.size - dim))
    over = jax.jit(over, static_argnums=5)
    for s0, s1 in itertools.pairwise(grid):
        mean, covariance, rest = over(mean, covariance, s0, s1, rest, tree)
    return mean[:dim], covariance[:dim, :dim]
