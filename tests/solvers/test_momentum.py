"""The Momentum Sampler against the paper's equations, and its order of convergence.

With Gaussian data the solve is an affine map of the start and of the noises. Its
Jacobian gives the moments of its output exactly: no Monte Carlo.
"""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import ChurnClock, ClockedBrownianPath, ControlForm
from softsde.terms._clock import make_clock

from ._paths import TablePath

DIM = 3
STEPS = (32, 64, 128, 256)


@pytest.fixture
def process(x64):
    """Blur that commutes neither across levels nor with the data, and growing noise."""
    return ss.Process(
        ss.corruptions.GaussianBlur((DIM,), 6),
        ss.schedules.Geometric(0.3, 1.5),
        ss.schedules.Geometric(0.2, 0.8),
    )


@pytest.fixture
def oracle(x64):
    rng = np.random.default_rng(7)
    root = rng.normal(size=(DIM, DIM))
    return ss.oracles.GaussianOracle(rng.normal(size=DIM), root @ root.T / DIM)


def numbers(process, t):
    matrix = np.asarray(process.corruption.matrix(float(process.level(t)), DIM))
    return matrix, float(process.sigma(t)) ** 2


def term_with(process, denoiser, clock, normals):
    clock = make_clock(clock, process)
    path = TablePath(normals, process.t1 - process.t0)
    return ControlForm(process, denoiser, ClockedBrownianPath(path, clock))


def solve(term, steps, start, solver=None):
    return diffrax.diffeqsolve(
        term,
        ss.Momentum() if solver is None else solver,
        0.0,
        1.0,
        dt0=1 / steps,
        y0=start,
        adjoint=diffrax.ForwardMode(),
    ).ys[0]


@pytest.mark.parametrize("clock", ["paper", "flow"])
def test_a_step_is_the_papers_equation(process, key, clock):
    """Eq. 17 (reverse SDE) and Eq. 51 (probability flow), term by term."""

    def denoiser(t, x):
        return jnp.sin(x) + t

    x_key, z_key = jax.random.split(key)
    x = jax.random.normal(x_key, (DIM,))
    z = jax.random.normal(z_key, (1, DIM))
    t_from, t_to = 0.7, 0.6
    c_from, v_from = numbers(process, t_from)
    c_to, v_to = numbers(process, t_to)
    x0_hat = np.asarray(denoiser(t_from, x))
    score = (c_from @ x0_hat - x) / v_from
    if clock == "paper":
        term = term_with(process, denoiser, clock, z)
        noise = np.sqrt(v_from - v_to) * z[0]
        expected = x + (c_to - c_from) @ x0_hat + (v_from - v_to) * score + noise
    else:
        term = ss.probability_flow(process, denoiser)
        expected = x + (c_to - c_from) @ x0_hat + 0.5 * (v_from - v_to) * score
    s0, s1 = 1 - t_from, 1 - t_to
    got = ss.Momentum().step(term, s0, s1, x, None, None, False)[0]
    if clock == "paper":
        # The table's normal is the first: this step is not on its grid.
        noise_got = term.contr(s0, s1).noise
        got = got - noise_got + np.sqrt(v_from - v_to) * z[0]
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


def test_without_corruption_it_is_songs_reverse_diffusion_step(x64, key):
    """x_i + (s_{i+1}^2 - s_i^2) score + sqrt(s_{i+1}^2 - s_i^2) z, whole solve."""
    process = ss.ve(0.01, 50.0)
    steps = 20
    x_key, z_key = jax.random.split(key)
    x = 50 * jax.random.normal(x_key, (DIM,))
    z = jax.random.normal(z_key, (steps, DIM))
    data = jnp.asarray(np.random.default_rng(0).normal(size=(4, DIM)))
    oracle = ss.oracles.EmpiricalOracle(data)
    denoiser = oracle.denoiser(process)
    got = solve(term_with(process, denoiser, "paper", z), steps, x)
    for i in range(steps):
        t, t_next = 1 - i / steps, 1 - (i + 1) / steps
        gap = (0.01 * 5000**t) ** 2 - (0.01 * 5000**t_next) ** 2
        score = oracle.score(process, t, x)
        x = x + gap * score + np.sqrt(gap) * z[i]
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("clock", ["paper", "flow"])
def test_at_constant_noise_it_is_cold_diffusions_algorithm_2(x64, key, clock):
    """`x_s - D(x_0, s) + D(x_0, s - 1)` (Bansal et al. 2023), whole solve: where the
    noise rests the score has no weight, and nothing is drawn on the paper's clock."""
    blur = ss.corruptions.GaussianBlur((DIM,), 6)
    process = ss.cold(blur, ss.schedules.Geometric(0.3, 1.5), 0.1)
    predict = lambda t, x: jnp.sin(x) + t
    degrade = lambda x0, t: np.asarray(blur.matrix(0.3 * 5**t, DIM)) @ np.asarray(x0)
    x = start = jax.random.normal(key, (DIM,))
    for i in range(5):
        t, t_to = 1 - i / 5, 1 - (i + 1) / 5
        x0 = predict(t, x)
        x = x - degrade(x0, t) + degrade(x0, t_to)
    term = ss.reverse_sde(process, predict, noise_clock=clock, shape=(DIM,), key=key)
    np.testing.assert_allclose(solve(term, 5, start), x, atol=1e-12, rtol=0)


def moments_error(process, oracle, clock, steps):
    """Distance of the output's exact mean and covariance from the data's at t0."""
    denoiser = oracle.denoiser(process)
    start_mean, start_covariance = oracle.marginal_moments(process, 1.0)
    truth = oracle.marginal_moments(process, 0.0)

    def run(start, normals):
        if clock == "flow":
            return solve(ss.probability_flow(process, denoiser), steps, start)
        return solve(term_with(process, denoiser, clock, normals), steps, start)

    zeros = jnp.zeros((steps, DIM))
    mean = run(start_mean, zeros)
    from_start, from_noise = jax.jit(jax.jacfwd(run, argnums=(0, 1)))(start_mean, zeros)
    from_noise = from_noise.reshape(DIM, -1)
    covariance = from_start @ start_covariance @ from_start.T
    covariance = covariance + from_noise @ from_noise.T
    return float(
        jnp.linalg.norm(mean - truth[0]) + jnp.linalg.norm(covariance - truth[1])
    )


@pytest.mark.parametrize(
    "name",
    [
        "paper",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("flow", "churn", "own")),
    ],
)
def test_moments_converge_at_first_order(process, oracle, name):
    """To the data's, for the paper's clock, for none, and for noise of one's own."""
    clocks = {"own": lambda s: 0.3 * s, "churn": ChurnClock(process, 3.0)}
    clock = clocks.get(name, name)
    errors = [moments_error(process, oracle, clock, n) for n in STEPS]
    slope = -np.polyfit(np.log(STEPS), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)
    # The limit is the data, not merely a limit.
    assert abs(2 * errors[-1] - errors[-2]) < 0.1 * errors[-2]


# On a path with few points the same is in `test_strong_order.py`, in a second.
@pytest.mark.slow
def test_strong_order_on_a_brownian_tree(process, oracle, key):
    """Strong order 1 on one Brownian path, by the distance of successive halvings."""
    total = float(make_clock("paper", process)(1.0))
    denoiser = oracle.denoiser(process)
    keys = jax.random.split(key, 40)

    def end(key, steps):
        path = diffrax.VirtualBrownianTree(0.0, total, 1e-7, (DIM,), key)
        term = ss.reverse_sde(process, denoiser, path=path)
        return solve(term, steps, jnp.ones(DIM))

    steps = (16, 32, 64, 128)
    ends = [jax.jit(jax.vmap(lambda k, n=n: end(k, n)))(keys) for n in steps]
    gaps = [
        float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in itertools.pairwise(ends)
    ]
    slope = -np.polyfit(np.log(steps[:-1]), np.log(gaps), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


def test_naive_is_algorithm_1(process, key):
    """The paper's, which is that of Cold Diffusion with the noise of each level."""

    def denoiser(t, x):
        return jnp.sin(x) + t

    z = jax.random.normal(key, (4, DIM))
    x = jnp.ones(DIM)
    got = solve(term_with(process, denoiser, "paper", z), 4, x, ss.Naive())
    for i in range(4):
        c, variance = numbers(process, 1 - (i + 1) / 4)
        x = c @ denoiser(1 - i / 4, x) + np.sqrt(variance) * z[i]
    np.testing.assert_allclose(got, x, atol=1e-12)


def test_mistakes_are_named(as_a_user, process, oracle, key):
    denoiser = oracle.denoiser(process)
    with pytest.raises(ValueError, match="draws noise"):
        ss.reverse_sde(process, denoiser)
    with pytest.raises(ValueError, match="not both"):
        path = diffrax.UnsafeBrownianPath((DIM,), key)
        ss.reverse_sde(process, denoiser, path=path, key=key)
    with pytest.raises(ValueError, match="Unknown `noise_clock` 'song'"):
        ss.reverse_sde(process, denoiser, noise_clock="song", shape=(DIM,), key=key)
    with pytest.raises(ValueError, match="`Naive` draws fresh noise"):
        solve(ss.probability_flow(process, denoiser), 2, jnp.ones(DIM), ss.Naive())
    ode = diffrax.ODETerm(lambda t, y, args: -y)
    with pytest.raises((TypeError, ValueError), match=r"[Tt]erm"):
        solve(ode, 2, jnp.ones(DIM))
    silent = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Linear(0.0, 1.0),
    )
    with pytest.raises(ValueError, match="divides by sigma"):
        ss.probability_flow(silent, denoiser)
    falling = term_with(process, denoiser, lambda s: -s, jnp.zeros((2, DIM)))
    with pytest.raises(Exception, match="noise clock decreases"):
        solve(falling, 2, jnp.ones(DIM))
