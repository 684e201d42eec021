"""Every named process against its published coefficients, and against mixtures.

The oracle's score is the gradient of its log density. A velocity is right when it
solves the continuity equation of that density; for a scaling it is compared with the
conditional mean of the paths' own speed, by the coefficients of the papers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import softsde as ss

TIMES = (0.25, 0.5, 0.9)


GENERATOR = np.array([[1.0, 2.0], [-0.5, 0.3]])


class Shear(ss.corruptions.AbstractCorruption):
    """expm(-L theta^2), which is neither symmetric nor normal.

    L = m I + N with the square of N a negative multiple of I, so that the exponential
    has the closed form of a rotation's.
    """

    def apply(self, theta, x):
        m = np.trace(GENERATOR) / 2
        traceless = GENERATOR - m * np.eye(2)
        speed = np.sqrt(-(traceless @ traceless)[0, 0])
        angle = speed * theta**2
        turned = jnp.cos(angle) * x - jnp.sin(angle) / speed * (traceless @ x)
        return jnp.exp(-m * theta**2) * turned


def shear():
    levels, noise = ss.schedules.Linear(), ss.schedules.Geometric(0.05, 1.5)
    return ss.Process(Shear(), levels, noise)


def _beta(t):
    return 0.1 + 19.9 * t


def _vp_signal(t):
    return np.exp(-0.25 * 19.9 * t**2 - 0.05 * t)


_LOW, _HIGH = 0.002 ** (1 / 7), 80 ** (1 / 7)
_PHASE = np.pi / 2 / 1.008


def _edm_sigma(t):
    return (_LOW + t * (_HIGH - _LOW)) ** 7


def _cosine(t):
    """cos a, cos b and sin a of the paper's angles."""
    return (
        np.cos(_PHASE * (t + 0.008)),
        np.cos(_PHASE * 0.008),
        np.sin(_PHASE * (t + 0.008)),
    )


# alpha and sigma, their derivatives, and f and g^2 of the classical SDE, worked out by
# hand from the published definitions.
SCALINGS = {
    "ve": (
        ss.ve,
        lambda t: (1, 0.01 * 5000**t, 0, np.log(5000) * 0.01 * 5000**t),
        lambda t: (0, 2 * np.log(5000) * (0.01 * 5000**t) ** 2),
    ),
    "vp": (
        ss.vp,
        lambda t: (
            (a := _vp_signal(t)),
            np.sqrt(1 - a**2),
            -_beta(t) * a / 2,
            _beta(t) * a**2 / (2 * np.sqrt(1 - a**2)),
        ),
        lambda t: (-_beta(t) / 2, _beta(t)),
    ),
    "subvp": (
        ss.subvp,
        lambda t: (
            (a := _vp_signal(t)),
            1 - a**2,
            -_beta(t) * a / 2,
            _beta(t) * a**2,
        ),
        lambda t: (-_beta(t) / 2, _beta(t) * (1 - _vp_signal(t) ** 4)),
    ),
    "cosine_vp": (
        ss.cosine_vp,
        lambda t: (
            (a := _cosine(t)[0] / _cosine(t)[1]),
            np.sqrt(1 - a**2),
            (a_dot := -_PHASE * _cosine(t)[2] / _cosine(t)[1]),
            -a * a_dot / np.sqrt(1 - a**2),
        ),
        # beta = -d log(alpha^2)/dt, as for every variance-preserving process.
        lambda t: (
            -_PHASE * _cosine(t)[2] / _cosine(t)[0],
            2 * _PHASE * _cosine(t)[2] / _cosine(t)[0],
        ),
    ),
    "edm": (
        ss.edm,
        lambda t: (
            1,
            _edm_sigma(t),
            0,
            7 * (_HIGH - _LOW) * _edm_sigma(t) ** (6 / 7),
        ),
        lambda t: (0, 14 * (_HIGH - _LOW) * _edm_sigma(t) ** (13 / 7)),
    ),
    "rectified_flow": (
        ss.rectified_flow,
        lambda t: (1 - t, t, -1, 1),
        lambda t: (-1 / (1 - t), 2 * t / (1 - t)),
    ),
}

MEANS = np.array([[-1.2, 0.4], [0.8, 1.0]])
COVARIANCES = np.array([[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.15], [-0.15, 0.5]]])
POINTS = np.array([[0.3, -0.7], [-1.1, 0.2], [1.5, 1.4]])


@pytest.fixture
def oracle(x64):
    return ss.oracles.MixtureOracle([0.4, 0.6], MEANS, COVARIANCES)


def at(function, *arguments):
    """Over all times and points."""
    over_points = jax.vmap(function, in_axes=(None, 0))
    return jax.vmap(over_points, in_axes=(0, None))(jnp.array(TIMES), *arguments)


def test_score_and_velocity_under_an_operator_that_is_not_normal(oracle):
    process = shear()
    np.testing.assert_allclose(
        jax.vmap(lambda x: process.apply(0.8, x))(jnp.eye(2)).T,
        scipy.linalg.expm(-GENERATOR * 0.8**2),
        atol=1e-14,
    )
    points = jnp.array(POINTS)
    denoiser = oracle.denoiser(process)

    def velocity(t, x):
        return process.velocity(t, x, denoiser(t, x))

    @jax.jit
    def truth(t, x):
        """Both scores; d log q/dt, div u and u . grad log q, which sum to zero."""
        change = jax.grad(oracle.log_prob, argnums=1)(process, t, x)
        divergence = jnp.trace(jax.jacfwd(lambda v: velocity(t, v))(x))
        exact = oracle.score(process, t, x)
        terms = jnp.stack([change, divergence, velocity(t, x) @ exact])
        return process.score(t, x, denoiser(t, x)), exact, terms

    scores, exact, terms = at(truth, points)
    np.testing.assert_allclose(scores, exact, rtol=1e-10, atol=1e-10)
    size = np.abs(terms).sum(-1)
    assert np.all(np.abs(terms.sum(-1)) < 1e-10 * np.maximum(1, size))
    assert size.min() > 0.1, "there is something to cancel"


def _posterior(t, x, alpha, sigma):
    """E[x0 | x_t = x] of the mixture under a scaling, in NumPy."""
    logs, means = [], []
    for weight, mean, covariance in zip([0.4, 0.6], MEANS, COVARIANCES, strict=True):
        joint = alpha**2 * covariance + sigma**2 * np.eye(2)
        gap = x - alpha * mean
        white = np.linalg.solve(joint, gap)
        logs.append(np.log(weight) - 0.5 * (gap @ white + np.linalg.slogdet(joint)[1]))
        means.append(mean + alpha * covariance @ white)
    weights = np.exp(np.array(logs) - max(logs))
    return weights / weights.sum() @ np.array(means)


@pytest.mark.parametrize("name", SCALINGS)
def test_scalings_are_as_published(oracle, name):
    make, coefficients, classical = SCALINGS[name]
    process = make()
    denoiser = oracle.denoiser(process)
    points = jnp.array(POINTS)
    scores = at(lambda t, x: process.score(t, x, denoiser(t, x)), points)
    exact = at(lambda t, x: oracle.score(process, t, x), points)
    np.testing.assert_allclose(scores, exact, rtol=1e-10, atol=1e-10)
    velocities = at(lambda t, x: process.velocity(t, x, denoiser(t, x)), points)
    rates, diffusions = jax.vmap(lambda t: ss.processes.classical_sde(process, t))(
        jnp.array(TIMES)
    )
    ratios = jax.vmap(process.snr)(jnp.array(TIMES))
    for i, t in enumerate(TIMES):
        alpha, sigma, alpha_dot, sigma_dot = coefficients(t)
        rate, squared = classical(t)
        assert float(ratios[i]) == pytest.approx(alpha**2 / sigma**2, rel=1e-11)
        assert float(rates[i]) == pytest.approx(rate, rel=1e-11)
        assert float(diffusions[i]) == pytest.approx(np.sqrt(squared), rel=1e-11)
        for j, x in enumerate(POINTS):
            x0 = _posterior(t, x, alpha, sigma)
            eta = (x - alpha * x0) / sigma
            np.testing.assert_allclose(scores[i, j], -eta / sigma, rtol=1e-10)
            u = alpha_dot * x0 + sigma_dot * eta
            np.testing.assert_allclose(velocities[i, j], u, rtol=1e-10, atol=1e-10)
            # One probability flow, however it is written.
            flow = rate * x + squared / 2 * eta / sigma
            np.testing.assert_allclose(velocities[i, j], flow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SCALINGS)
def test_the_classical_sde_has_the_moments_of_the_process(x64, name):
    """m' = f m and v' = 2 f v + g^2, by the classical Runge-Kutta method."""
    process = SCALINGS[name][0]()
    steps, first, last = 4000, 0.2, 0.8
    grid = jnp.linspace(first, last, 2 * steps + 1)
    rates, diffusions = jax.vmap(lambda t: ss.processes.classical_sde(process, t))(grid)
    f, g2 = np.asarray(rates), np.asarray(diffusions) ** 2
    moments = np.array([process.signal(grid[0]), process.sigma(grid[0]) ** 2])
    h = (last - first) / steps

    def slope(i, y):
        return np.array([f[i] * y[0], 2 * f[i] * y[1] + g2[i]])

    for i in range(0, 2 * steps, 2):
        k1 = slope(i, moments)
        k2 = slope(i + 1, moments + h / 2 * k1)
        k3 = slope(i + 1, moments + h / 2 * k2)
        k4 = slope(i + 2, moments + h * k3)
        moments = moments + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    expected = [process.signal(grid[-1]), process.sigma(grid[-1]) ** 2]
    np.testing.assert_allclose(moments, expected, rtol=1e-9)


def test_numbers_of_score_sde(x64):
    """score_sde computes these at one half, with its defaults."""
    vp, subvp = ss.vp(), ss.subvp()
    assert float(vp.signal(0.5)) == pytest.approx(0.2811828807967524, abs=1e-15)
    assert float(vp.sigma(0.5)) == pytest.approx(0.9596542020680363, abs=1e-15)
    assert float(subvp.sigma(0.5)) == pytest.approx(0.9209361875468394, abs=1e-15)
    diffusion = ss.processes.classical_sde(vp, 0.5)[1]
    assert float(diffusion) == pytest.approx(3.1701734968, abs=1e-10)
    diffusion = ss.processes.classical_sde(ss.ve(), 0.5)[1]
    assert float(diffusion) == pytest.approx(2.918423066, abs=1e-9)


def test_the_last_time_of_a_flow_is_noise_alone(oracle):
    """There alpha is zero, the posterior mean is the prior's, and the score is -x."""
    x = jnp.array(POINTS[0])
    for process in (ss.rectified_flow(), ss.cosine_vp()):
        t = jnp.asarray(1.0)
        assert float(process.signal(t)) == 0.0
        x0_hat = oracle.posterior_mean(process, t, x)
        np.testing.assert_allclose(x0_hat, [0.4, 0.6] @ MEANS, atol=1e-14)
        np.testing.assert_allclose(process.score(t, x, x0_hat), -x, rtol=1e-14)


def test_cold_has_no_noise(x64, key):
    process = ss.cold(Shear(), ss.schedules.Linear())
    x0 = jnp.array([1.0, -2.0])
    x, _ = process.perturb(0.7, x0, key=key)
    np.testing.assert_array_equal(x, process.apply(0.7, x0))
    with pytest.raises(ValueError, match="divides by sigma"):
        process.require_noise("Sampling")
    ss.cold(Shear(), ss.schedules.Linear(), sigma=0.01).require_noise("Sampling")


def test_mistakes_are_named(x64):
    with pytest.raises(
        ValueError, match=r"`snr` needs .* diagonal in a basis, got `Shear`"
    ):
        shear().snr(0.5)
    with pytest.raises(ValueError, match="`classical_sde` needs"):
        ss.processes.classical_sde(shear(), 0.5)
    for make in (ss.vp, ss.subvp, ss.cosine_vp, ss.rectified_flow):
        with pytest.raises(ValueError, match=r"`t0=0.0`; expected a time in \(0, 1\)"):
            make(t0=0.0)
