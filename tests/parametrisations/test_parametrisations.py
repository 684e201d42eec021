"""Parametrisations against the closed form of each quantity, and as one another."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.parametrisations import EDM, Clean, Noise, Residual, Score, Velocity

DIM = 3
SIGMA_DATA = 0.7


class Erase(ss.corruptions.AbstractCorruption):
    """Loses its first component altogether, and mixes the others."""

    def apply(self, theta, x):
        return jnp.roll(x, 1).at[0].set(0.0) * theta


@pytest.fixture
def oracle(x64):
    rng = np.random.default_rng(8)
    roots = rng.normal(size=(2, DIM, DIM))
    return ss.oracles.MixtureOracle(
        [0.3, 0.7], rng.normal(size=(2, DIM)), roots @ roots.transpose(0, 2, 1)
    )


@pytest.fixture
def erase(x64):
    noise = ss.schedules.Geometric(0.1, 2.0)
    return ss.Process(Erase(), ss.schedules.Linear(1.0, 0.5), noise)


def _vp(t):
    """alpha, sigma and their derivatives."""
    alpha, beta = np.exp(-0.25 * 19.9 * t**2 - 0.05 * t), 0.1 + 19.9 * t
    sigma = np.sqrt(1 - alpha**2)
    return alpha, sigma, -beta * alpha / 2, beta * alpha**2 / (2 * sigma)


SCALINGS = {
    "vp": (ss.vp, _vp),
    "rectified_flow": (ss.rectified_flow, lambda t: (1 - t, t, -1.0, 1.0)),
    "ve": (ss.ve, lambda t: (1.0, s := 0.01 * 5000**t, 0.0, np.log(5000) * s)),
}


def _truth(oracle, process, coefficients, t, x):
    """Each quantity by its definition, from the oracle's mean or its log density."""
    alpha, sigma, alpha_dot, sigma_dot = coefficients(t)
    score = np.asarray(oracle.score(process, t, x))
    clean = np.asarray(oracle.posterior_mean(process, t, x))
    noise = -sigma * score
    # EDM's own formulas (Table 1) for x / alpha, whose noise is sigma / alpha.
    s, y = sigma / alpha, np.asarray(x) / alpha
    skip = SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2)
    out = s * SIGMA_DATA / np.sqrt(s**2 + SIGMA_DATA**2)
    return [
        (Clean(), clean),
        (Residual(), clean - np.asarray(x)),
        (Noise(), noise),
        (Score(), score),
        (Velocity(), alpha_dot * clean + sigma_dot * noise),
        (EDM(SIGMA_DATA), (clean - skip * y) / out),
    ]


@pytest.mark.parametrize("name", SCALINGS)
def test_all_pairs_convert_to_the_truth(oracle, key, name):
    make, coefficients = SCALINGS[name]
    process, t = make(), 0.4
    x = jax.random.normal(key, (DIM,))
    truth = _truth(oracle, process, coefficients, t, x)
    for (from_, given), (to, expected) in itertools.product(truth, truth):
        got = ss.convert(jnp.asarray(given), from_, to, process, t, x)
        np.testing.assert_allclose(
            got, expected, rtol=1e-9, atol=1e-9, err_msg=f"{from_} to {to}"
        )


@pytest.mark.parametrize("name", SCALINGS)
def test_cycles_return(x64, key, name):
    """Any output comes back from a tour of all parametrisations, true or not."""
    process, t = SCALINGS[name][0](), 0.4
    x, start = jax.random.normal(key, (2, DIM))
    tour = [Noise(), Velocity(), EDM(0.5), Score(), Residual(), Clean(), Noise()]
    output = start
    for from_, to in itertools.pairwise(tour):
        output = ss.convert(output, from_, to, process, t, x)
    np.testing.assert_allclose(output, start, rtol=1e-9, atol=1e-11)


def test_under_a_singular_operator_what_is_determined_converts(oracle, erase, key):
    t = 0.4
    x = jax.random.normal(key, (DIM,))
    clean = oracle.posterior_mean(erase, t, x)
    sigma = 0.1 * 20**t
    score = oracle.score(erase, t, x)
    for from_, to, given, expected in (
        (Clean(), Score(), clean, score),
        (Clean(), Noise(), clean, -sigma * score),
        (Residual(), Score(), clean - x, score),
        (Noise(), Score(), -sigma * score, score),
        (Score(), Noise(), score, -sigma * score),
    ):
        got = ss.convert(given, from_, to, erase, t, x)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    # d/dt of the level 1 - t/2 and of the geometric noise, by hand.
    speed = -0.5 / (1 - t / 2) * erase.apply(t, clean)
    velocity = speed - np.log(20) * sigma**2 * score
    got = ss.convert(clean, Clean(), Velocity(), erase, t, x)
    np.testing.assert_allclose(got, velocity, rtol=1e-10)


def test_a_velocity_tells_the_clean_sample_where_no_signal_is_left(oracle, key):
    """Rectified flow at one: u = x - E[x0], though alpha is zero."""
    process = ss.rectified_flow()
    x = jax.random.normal(key, (DIM,))
    mean = oracle.weights @ oracle.means
    velocity = ss.convert(mean, Clean(), Velocity(), process, 1.0, x)
    np.testing.assert_allclose(velocity, x - mean, atol=1e-14)
    back = ss.convert(velocity, Velocity(), Clean(), process, 1.0, x)
    np.testing.assert_allclose(back, mean, atol=1e-14)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_edm_with_nothing_learnt_is_the_wiener_filter(x64, key, name):
    """For N(0, sigma_data^2 I) the network's target is zero, its input is white."""
    make, coefficients = SCALINGS[name]
    process, t = make(), jnp.asarray(0.3)
    alpha, sigma, *_ = coefficients(0.3)
    seen = []

    def network(time, x, condition, *, key=None):
        seen.append((time, x))
        return jnp.zeros_like(x)

    x = jax.random.normal(key, (DIM,))
    denoiser = ss.Denoiser(network, process, EDM(SIGMA_DATA))
    gaussian = ss.oracles.GaussianOracle(jnp.zeros(DIM), SIGMA_DATA**2 * jnp.eye(DIM))
    expected = gaussian.posterior_mean(process, t, x)
    np.testing.assert_allclose(denoiser(t, x), expected, rtol=1e-12)
    ((time, shown),) = seen
    assert float(time) == pytest.approx(np.log(sigma / alpha) / 4, rel=1e-12)
    spread = np.sqrt(alpha**2 * SIGMA_DATA**2 + sigma**2)
    np.testing.assert_allclose(shown, x / spread, rtol=1e-12)


def test_a_denoiser_reads_its_network_and_shows_it_the_sample(x64, key):
    process, t = ss.vp(), jnp.asarray(0.4)
    alpha, sigma, *_ = _vp(0.4)
    x = jax.random.normal(key, (DIM,))
    network = lambda t, x, condition, *, key=None: jnp.sin(x) + t
    output = np.sin(np.asarray(x)) + 0.4
    for parametrisation, expected in (
        (Clean(), output),
        (Residual(), np.asarray(x) + output),
        (Noise(), (np.asarray(x) - sigma * output) / alpha),
        (Score(), (np.asarray(x) + sigma**2 * output) / alpha),
    ):
        denoiser = ss.Denoiser(network, process, parametrisation)
        np.testing.assert_allclose(denoiser(t, x), expected, rtol=1e-12)


SHAPE = (4, 4, 1)
DEFAULTS = {
    "ve": (ss.ve, EDM),
    "vp": (ss.vp, EDM),
    "subvp": (ss.subvp, EDM),
    "edm": (ss.edm, EDM),
    "cosine_vp": (ss.cosine_vp, Velocity),
    "rectified_flow": (ss.rectified_flow, Velocity),
    # The noise at the end is less than twice the signal.
    "ve, to 1": (lambda: ss.ve(0.01, 1.0), Residual),
    "soft_blur": (lambda: ss.soft_blur(SHAPE), Residual),
    "soft_mask": (lambda: ss.soft_mask(SHAPE), Residual),
    "hard_mask": (lambda: ss.processes.hard_mask(SHAPE), Residual),
    "heat_dissipation": (lambda: ss.heat_dissipation(SHAPE), Residual),
    "blurring_diffusion": (lambda: ss.blurring_diffusion(SHAPE), Residual),
    "cold": (lambda: ss.cold(ss.corruptions.Fade(), ss.schedules.Linear()), Residual),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_process_has_a_parametrisation_by_default(name):
    """One that serves it: the clean sample follows at both ends of time."""
    make, kind = DEFAULTS[name]
    process = make()
    chosen = ss.parametrisations.default_for(process)
    assert type(chosen) is kind
    chosen.check(process)
    x = jnp.ones(SHAPE)
    for t in (process.t0, process.t1):
        assert np.all(np.isfinite(chosen.to_clean(process, t, x, 0.3 * x)))


@pytest.mark.parametrize("name", ["ve", "vp", "subvp", "edm"])
def test_targets_of_the_default_have_unit_variance(name, key):
    """At all times, in single precision, for data of its own standard deviation.

    Within four standard errors of 4,000 draws.
    """
    process, number = DEFAULTS[name][0](), 4000
    chosen = ss.parametrisations.default_for(process)
    data_key, noise_key = jax.random.split(key)
    x0 = chosen.sigma_data * jax.random.normal(data_key, (number,))
    for t in np.linspace(process.t0, process.t1, 7):
        x, _ = process.perturb(t, x0, key=noise_key)
        shown = chosen.network_input(process, t, x)[1]
        target = chosen.from_clean(process, t, x, x0)
        for array in (shown, target):
            assert array.dtype == jnp.float32
            variance = float(np.mean(np.asarray(array, np.float64) ** 2))
            assert variance == pytest.approx(1, abs=4 * np.sqrt(2 / number))


def test_of_a_traced_schedule_the_default_is_the_residual():
    @jax.jit
    def run(sigma):
        process = ss.Process(
            ss.corruptions.Identity(),
            ss.schedules.Constant(0.0),
            ss.schedules.Geometric(0.01, sigma),
        )
        assert type(ss.parametrisations.default_for(process)) is Residual
        return sigma

    run(50.0)


def test_a_default_can_be_replaced():
    network = lambda t, x, condition, *, key=None: jnp.zeros_like(x)
    denoiser = ss.Denoiser(network, ss.edm(), Clean())
    np.testing.assert_array_equal(denoiser(0.5, jnp.ones(DIM)), np.zeros(DIM))


def test_mistakes_are_named(erase):
    x = jnp.zeros(DIM)
    network = lambda t, x, condition, *, key=None: x
    for parametrisation, reason in (
        (Noise(), r"`Noise` determines C_t E\[x0\|x_t\].*`Erase` need not"),
        (Score(), r"`Score` determines .*`process.apply\(t, x0\)`"),
        (Velocity(), "`Velocity` determines .*`Erase` need not"),
        (EDM(), "`EDM` needs C_t = alpha_t I"),
    ):
        with pytest.raises(ValueError, match=reason):
            ss.Denoiser(network, erase, parametrisation)
        with pytest.raises(ValueError, match=reason):
            ss.convert(x, parametrisation, Clean(), erase, 0.5, x)
    flow = ss.rectified_flow()
    for parametrisation in (Noise(), Score(), EDM()):
        with pytest.raises(
            ValueError, match=r"divides by alpha(\(1.0\))?, which is zero"
        ):
            ss.Denoiser(network, flow, parametrisation)
    with pytest.raises(ValueError, match="divides by alpha_t, which is zero"):
        ss.convert(x, Noise(), Clean(), flow, 1.0, x)
    still = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Constant(0.1),
    )
    with pytest.raises(ValueError, match="the speed of alpha/sigma, which is zero"):
        ss.convert(x, Velocity(), Clean(), still, 0.5, x)
    with pytest.raises(ValueError, match="`sigma_data` > 0"):
        EDM(0.0)
