"""DDPM's chain, written out in NumPy as its paper has it, against the process."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import softsde as ss
from softsde.losses import AtNoiseLevels, SoftScoreMatching, VariationalWeight
from softsde.schedules import DiscreteVP, DiscreteVPSignal

BETAS = np.array([0.02, 0.05, 0.03, 0.1, 0.2, 0.15])
N = len(BETAS)
ALPHA_BAR = np.cumprod(1 - BETAS)


def test_on_the_grid_it_is_the_chain(x64):
    process = ss.processes.ddpm(BETAS)
    assert (process.t0, process.t1) == (1 / N, 1.0)
    x0 = jnp.asarray([0.3, -1.0])
    for i, bar in enumerate(ALPHA_BAR, start=1):
        mean, std = process.marginal(i / N, x0)
        np.testing.assert_allclose(mean, np.sqrt(bar) * x0, rtol=1e-13)
        assert float(std) == pytest.approx(np.sqrt(1 - bar), rel=1e-13)
    # A step forward composes: variance and signal of the chain's own recursion.
    variance = 0.0
    for i, beta in enumerate(BETAS, start=1):
        variance = (1 - beta) * variance + beta
        assert float(process.sigma(i / N)) ** 2 == pytest.approx(variance, rel=1e-12)


def test_the_default_is_the_published_chain(x64):
    """A thousand steps: alpha bar of 4.04e-5 at the end (Nichol and Dhariwal)."""
    process = ss.processes.ddpm()
    bar = np.exp(np.sum(np.log1p(-np.linspace(1e-4, 0.02, 1000))))
    assert bar == pytest.approx(4.04e-5, rel=1e-2)
    assert float(process.signal(1.0)) == pytest.approx(np.sqrt(bar), rel=1e-10)


def test_between_the_steps_log_alpha_bar_is_linear(x64):
    signal, noise = DiscreteVPSignal(BETAS), DiscreteVP(BETAS)
    lost = np.concatenate([[0], -np.log(ALPHA_BAR)])
    for t in (0.05, 0.31, 0.5, 0.77, 0.99):
        bar = np.exp(-np.interp(t * N, np.arange(N + 1), lost))
        assert float(signal(t)) == pytest.approx(np.sqrt(bar), rel=1e-13)
        assert float(noise(t)) == pytest.approx(np.sqrt(1 - bar), rel=1e-12)
        for schedule in (signal, noise):
            assert float(schedule.inverse(schedule(t))) == pytest.approx(t, rel=1e-10)
            expected = np.log(float(schedule(t)) / float(schedule(0.6)))
            got = float(schedule.log_ratio(t, 0.6))
            assert got == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(noise.kinks(), np.arange(N + 1) / N, rtol=1e-12)


def test_short_steps_in_single_precision():
    """The change over a step of the published chain, within the rounding of a time.

    A time near 1 is known to 6e-8, a step of 1e-3 then to 1e-4 of itself.
    """
    betas = np.linspace(1e-4, 0.02, 1000)
    noise = DiscreteVP(betas)
    variance = 1 - np.exp(np.cumsum(np.log1p(-betas)))
    later, earlier = np.arange(2, 1001), np.arange(1, 1000)
    exact = 0.5 * np.log(variance[1:] / variance[:-1])
    times = [jnp.asarray(i / 1000, jnp.float32) for i in (later, earlier)]
    got = jax.vmap(noise.log_ratio)(*times)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, exact, rtol=3e-4)


def posterior(i, x, x0):
    """Ho et al., Eq. 6 and 7: mean and variance of q(x_{i-1} | x_i, x_0)."""
    bar, before = ALPHA_BAR[i - 1], ALPHA_BAR[i - 2] if i > 1 else 1.0
    beta = BETAS[i - 1]
    mean = (
        np.sqrt(before) * beta / (1 - bar) * x0
        + np.sqrt(1 - beta) * (1 - before) / (1 - bar) * x
    )
    return mean, (1 - before) / (1 - bar) * beta


@pytest.mark.parametrize(
    "variance", [pytest.param("posterior", marks=pytest.mark.slow), "beta"]
)
def test_ancestral_sampling_is_the_chain_backwards(x64, variance):
    """Mean and variance of every step, and the last one without noise."""
    process = ss.processes.ddpm(BETAS)
    predict = lambda t, x: jnp.sin(x) + t
    denoiser = ss.FunctionDenoiser(predict, process)
    solver = ss.Ancestral(variance)
    x = jnp.asarray([0.4, -1.3])

    @jax.jit
    @jax.vmap
    def draw(key, s0, s1):
        term = ss.reverse_sde(denoiser, clock="ode", shape=(2,), key=key)
        return solver.step(term, s0, s1, x, None, None, False)[0]

    number = 4000
    keys = jax.random.split(jax.random.key(3), number)
    grid = np.linspace(1, 1 / N, N)
    for i, (t, t_next) in zip(range(N, 1, -1), itertools.pairwise(grid), strict=True):
        mean, tilde = posterior(i, np.asarray(x), np.sin(x) + i / N)
        wanted = tilde if variance == "posterior" else BETAS[i - 1]
        drawn = draw(keys, jnp.full(number, 1 - t), jnp.full(number, 1 - t_next))
        scaled = (np.asarray(drawn) - mean) / np.sqrt(wanted)
        assert np.abs(scaled.mean(0)).max() < 4 / np.sqrt(number)
        assert np.abs(scaled.var(0) - 1).max() < 4 * np.sqrt(2 / number)
    # With the larger variance it is x + beta s over the root, plus sqrt(beta) z.
    if variance == "beta":
        bar = ALPHA_BAR[-1]
        score = (np.sqrt(bar) * (np.sin(x) + 1) - x) / (1 - bar)
        published = (x + BETAS[-1] * score) / np.sqrt(1 - BETAS[-1])
        np.testing.assert_allclose(
            published, posterior(N, x, np.sin(x) + 1)[0], atol=1e-12
        )


@pytest.mark.slow
def test_the_whole_chain_by_sample(x64, key):
    """`sample` takes N - 1 steps and the prediction: moments by matrices.

    On Gaussian data every step is affine; 20,000 draws, four standard errors.
    """
    process = ss.processes.ddpm(BETAS)
    m, v = 0.5, 0.49
    oracle = ss.oracles.GaussianOracle(jnp.asarray([m]), jnp.asarray([[v]]))
    bar_n = ALPHA_BAR[-1]
    mean, variance = np.sqrt(bar_n) * m, bar_n * v + 1 - bar_n
    number = 20_000
    x1 = mean + np.sqrt(variance) * jax.random.normal(key, (number, 1))
    drawn = ss.sample(
        oracle.denoiser(process), x1=x1, solver=ss.Ancestral(), num_steps=N - 1, key=key
    )
    assert drawn.nfe == N
    for i in range(N, 0, -1):
        bar = ALPHA_BAR[i - 1]
        gain = np.sqrt(bar) * v / (bar * v + 1 - bar)
        d0 = m - gain * np.sqrt(bar) * m
        # The mean of a step is affine in x: slope and value at two points.
        at = lambda x, i=i, gain=gain, d0=d0: posterior(i, x, d0 + gain * x)[0]
        slope, added = at(1.0) - at(0.0), posterior(i, 0.0, 0.0)[1]
        mean, variance = at(0.0) + slope * mean, slope**2 * variance + added
    error = np.sqrt(variance / number)
    assert float(drawn.x.mean()) == pytest.approx(mean, abs=4 * error)
    assert float(drawn.x.var()) == pytest.approx(variance, rel=4 * np.sqrt(2 / number))


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_variational_weight_is_the_bound(x64, variance):
    """Every term, as the divergence of two Gaussians; and the same in scores.

    `L_{i-1} = KL(q(x_{i-1} | x_i, x_0) || N(mu, s^2))`, less its part without the
    network, against the loss; `L_0` is the log density of a Gaussian decoder.
    """
    process = ss.processes.ddpm(BETAS)
    loss = SoftScoreMatching(VariationalWeight(variance))
    x0, x0_hat = np.array([0.3, -0.8, 1.1]), np.array([0.1, -0.2, 0.7])
    denoiser = ss.FunctionDenoiser(lambda t, x: jnp.asarray(x0_hat), process)
    x_key = jax.random.key(0)
    for i in range(1, N + 1):
        t = i / N
        noise_key, _ = jax.random.split(x_key)
        x = np.asarray(process.perturb(t, jnp.asarray(x0), key=noise_key)[0])
        (mean, tilde), (guess, _) = posterior(i, x, x0), posterior(i, x, x0_hat)
        bar, beta = ALPHA_BAR[i - 1], BETAS[i - 1]
        step = beta if variance == "beta" or i == 1 else tilde
        if i > 1:
            full = [
                np.log(np.sqrt(step / tilde)) + (tilde + gap**2) / (2 * step) - 0.5
                for gap in mean - guess
            ]
            constant = 3 * (np.log(np.sqrt(step / tilde)) + tilde / (2 * step) - 0.5)
            expected = np.sum(full) - constant
        else:
            decoder = scipy.stats.norm(guess, np.sqrt(beta))
            best = scipy.stats.norm(x0, np.sqrt(beta))
            expected = np.sum(best.logpdf(x0) - decoder.logpdf(x0))
        got = 3 * float(loss(denoiser, jnp.asarray(x0), t, key=x_key))
        assert got == pytest.approx(expected, rel=1e-10)
        # As a weighted prediction of the noise, and as a weighted score matching.
        eps = (x - np.sqrt(bar) * x0) / np.sqrt(1 - bar)
        eps_hat = (x - np.sqrt(bar) * x0_hat) / np.sqrt(1 - bar)
        factor = beta**2 / (2 * step * (1 - beta) * (1 - bar))
        assert factor * np.sum((eps - eps_hat) ** 2) == pytest.approx(got, rel=1e-10)
        score, target = -eps_hat / np.sqrt(1 - bar), -eps / np.sqrt(1 - bar)
        weight = factor * (1 - bar)
        assert weight * np.sum((score - target) ** 2) == pytest.approx(got, rel=1e-10)
        # The simple objective: the noise, with weight one; the paper's default weight.
        simple = 3 * float(SoftScoreMatching()(denoiser, jnp.asarray(x0), t, key=x_key))
        assert simple == pytest.approx(np.sum((eps - eps_hat) ** 2), rel=1e-10)
        by_score = (1 - bar) * np.sum((score - target) ** 2)
        assert simple == pytest.approx(by_score, rel=1e-10)


def test_levels_of_the_chain_are_drawn_evenly(x64, key):
    """`AtNoiseLevels` on uniform times: the mean over the N terms of the bound."""
    process = ss.processes.ddpm(BETAS)
    sigmas = np.sqrt(1 - ALPHA_BAR)
    seen = lambda denoiser, x0, t, condition, *, key: denoiser.process.sigma(t)
    at = AtNoiseLevels(seen, sigmas)
    denoiser = ss.FunctionDenoiser(lambda t, x: x, process)
    middles = process.t0 + (process.t1 - process.t0) * (np.arange(N) + 0.5) / N
    got = [float(at(denoiser, jnp.zeros(1), t, key=key)) for t in middles]
    np.testing.assert_allclose(got, sigmas, rtol=1e-10)


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match=r"two `betas`, got shape \(1,\)"):
        ss.processes.ddpm([0.1])
    with pytest.raises(ValueError, match=r"from 0\.1 to 1\.0; expected variances"):
        ss.processes.ddpm([0.1, 1.0])
    with pytest.raises(ValueError, match="variance='both'"):
        VariationalWeight("both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"noise `VP`.*ddpm\(betas\)"):
        VariationalWeight()(ss.vp(), 0.5)
    with pytest.raises(ValueError, match="variance='both'"):
        ss.Ancestral("both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`large=True` without noise"):
        ss.DDIM(large=True)
