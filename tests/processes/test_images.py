"""The processes that blur and mask, against their papers' formulas and a mixture.

Each is written out in NumPy as a transform, factors in its basis and noise, with their
derivatives worked out by hand; the posterior mean of the mixture follows by dense
linear algebra.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.stats

import softsde as ss

SHAPE = (3, 4)
SIZE = 12
# Away from the kinks of piecewise linear levels.
TIMES = (0.2312, 0.5177, 0.9033)


def _dct():
    """The orthonormal DCT-II of SciPy, as a matrix."""
    units = np.eye(SIZE).reshape(SIZE, *SHAPE)
    columns = scipy.fft.dctn(units, axes=(1, 2), norm="ortho").reshape(SIZE, SIZE)
    return columns.T


def _squared():
    k, m = np.arange(3)[:, None], np.arange(4)[None, :]
    return ((np.pi * k / 3) ** 2 + (np.pi * m / 4) ** 2).reshape(-1)


def _heat(t):
    """0, then 200 levels from 0.5 to 24 in geometric progression; linear between."""
    levels = np.array([0.0] + [0.5 * 48 ** (k / 199) for k in range(200)])
    k = int(np.floor(200 * t))
    speed = 200 * (levels[k + 1] - levels[k])
    blur = levels[k] + speed * (t - k / 200)
    factor = np.exp(-_squared() * blur**2 / 2)  # their dissipation time
    return factor, -_squared() * blur * speed * factor, 0.01, 0.0


def _blurring(t):
    """By their log signal-to-noise ratio, -2 log tan, and its bounds of 10."""
    first, last = np.arctan(np.exp(-5.0)), np.arctan(np.exp(5.0))
    speed = last - first
    angle = first + speed * t
    log_snr = -2 * np.log(np.tan(angle))
    a, sigma = 1 / np.sqrt(1 + np.exp(-log_snr)), 1 / np.sqrt(1 + np.exp(log_snr))
    blur = 20 * np.sin(np.pi * t / 2) ** 2
    blur_dot = 10 * np.pi * np.sin(np.pi * t)
    decay = 0.999 * np.exp(-_squared() * blur**2 / 2)
    factor = decay + 0.001
    factor_dot = -_squared() * blur * blur_dot * decay
    rate = -np.sin(angle) * speed * factor + a * factor_dot
    return a * factor, rate, sigma, np.cos(angle) * speed


def _noise(t):
    if t < 0.2:
        sigma = 0.01 * 10 ** (5 * t)
        return sigma, 5 * np.log(10) * sigma
    return 0.1, 0.0


def _places():
    """The share of pixels nearer to the centre, and half of those that tie."""
    distance = np.array(
        [[(i - 1.0) ** 2 + (j - 1.5) ** 2 for j in range(4)] for i in range(3)]
    ).reshape(-1)
    nearer = (distance[None, :] < distance[:, None]).sum(1)
    ties = (distance[None, :] == distance[:, None]).sum(1)
    return (nearer + ties / 2) / SIZE


def _soft_mask(t, width=0.4):
    level = max(t - 0.2, 0) / 0.8
    a = np.clip(1 + (_places() - (1 + width) * level) / width, 0, 1)
    a_dot = -(1 + width) / width / 0.8
    return (
        6 * a**5 - 15 * a**4 + 10 * a**3,
        30 * a**2 * (1 - a) ** 2 * a_dot,
        *_noise(t),
    )


def _sharp_mask(t):
    """The first round(12 theta) pixels by distance, in row-major order where equal."""
    level = max(t - 0.2, 0) / 0.8
    distance = [(i - 1.0) ** 2 + (j - 1.5) ** 2 for i in range(3) for j in range(4)]
    order = sorted(range(SIZE), key=lambda pixel: (distance[pixel], pixel))
    kept = np.ones(SIZE)
    kept[order[: round(SIZE * level)]] = 0
    return kept, None, *_noise(t)


CASES = {
    "heat_dissipation": (lambda: ss.heat_dissipation(SHAPE), _heat, _dct),
    "blurring_diffusion": (lambda: ss.blurring_diffusion(SHAPE), _blurring, _dct),
    "soft_mask_wide": (
        lambda: ss.soft_mask(SHAPE, width=0.4),
        _soft_mask,
        lambda: np.eye(SIZE),
    ),
    "soft_mask": (
        lambda: ss.soft_mask(SHAPE),
        lambda t: _soft_mask(t, 0.1),
        lambda: np.eye(SIZE),
    ),
    "hard_mask": (
        lambda: ss.processes.hard_mask(SHAPE),
        _sharp_mask,
        lambda: np.eye(SIZE),
    ),
}

WEIGHTS = np.array([0.4, 0.6])


def _mixture():
    rng = np.random.default_rng(8)
    means = rng.normal(size=(2, SIZE))
    roots = rng.normal(size=(2, SIZE, SIZE)) / 3
    return means, roots @ roots.transpose(0, 2, 1)


def _posterior(x, operator, sigma):
    logs, means = [], []
    for weight, mean, covariance in zip(WEIGHTS, *_mixture(), strict=True):
        joint = operator @ covariance @ operator.T + sigma**2 * np.eye(SIZE)
        gap = x - operator @ mean
        white = np.linalg.solve(joint, gap)
        logs.append(np.log(weight) - 0.5 * (gap @ white + np.linalg.slogdet(joint)[1]))
        means.append(mean + covariance @ operator.T @ white)
    shares = np.exp(np.array(logs) - max(logs))
    return shares / shares.sum() @ np.array(means)


@pytest.mark.parametrize("name", CASES)
def test_process_is_as_published(x64, key, name):
    make, formula, basis = CASES[name]
    process, q = make(), basis()
    means, covariances = _mixture()
    oracle = ss.oracles.MixtureOracle(
        WEIGHTS, means.reshape(2, *SHAPE), np.array(covariances)
    )
    moves = name != "hard_mask"
    x0 = np.random.default_rng(1).normal(size=SIZE)

    # It runs three times: nothing is gained by optimising it.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def everything(t, x0, noise_key):
        x, eta = process.perturb(t, x0, key=noise_key)
        x0_hat = oracle.posterior_mean(process, t, x)
        out = {
            "mean": process.marginal(t, x0)[0],
            "std": process.marginal(t, x0)[1],
            "x": x,
            "eta": eta,
            "x0_hat": x0_hat,
            "score": process.score(t, x, x0_hat),
            "exact": oracle.score(process, t, x),
            "snr": process.snr(t),
            "diffusion": process.diffusion(t),
        }
        if moves:
            out["velocity"] = process.velocity(t, x, x0_hat)
            out["drift"] = process.drift(t, x0_hat)
        return out

    for t in TIMES:
        got = everything(jnp.asarray(t), jnp.asarray(x0.reshape(SHAPE)), key)
        flat = {n: np.asarray(v).reshape(-1) for n, v in got.items()}
        factor, rate, sigma, sigma_dot = formula(t)
        operator = q.T @ np.diag(factor) @ q
        np.testing.assert_allclose(flat["mean"], operator @ x0, atol=1e-12)
        assert flat["std"] == pytest.approx(sigma, rel=1e-12)
        x = operator @ x0 + sigma * flat["eta"]
        np.testing.assert_allclose(flat["x"], x, atol=1e-12)
        np.testing.assert_allclose(flat["snr"], factor**2 / sigma**2, rtol=1e-10)
        grown = np.sqrt(2 * sigma * sigma_dot)
        assert flat["diffusion"] == pytest.approx(grown, rel=1e-10, abs=1e-14)
        x0_hat = _posterior(x, operator, sigma)
        np.testing.assert_allclose(flat["x0_hat"], x0_hat, rtol=1e-10, atol=1e-10)
        eta = (x - operator @ x0_hat) / sigma
        scale = max(1, np.abs(eta / sigma).max())
        np.testing.assert_allclose(flat["score"], -eta / sigma, atol=1e-10 * scale)
        np.testing.assert_allclose(flat["score"], flat["exact"], atol=1e-10 * scale)
        if moves:
            drift = q.T @ np.diag(rate) @ q @ x0_hat
            np.testing.assert_allclose(flat["drift"], drift, rtol=1e-9, atol=1e-10)
            u = drift + sigma_dot * eta
            np.testing.assert_allclose(flat["velocity"], u, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_the_prior_is_fitted_on_the_end(x64, name):
    """The Gaussian of the mean and covariance of C_1 x0 in NumPy, plus noise.

    Of a full mask nothing is left but the noise.
    """
    make, formula, basis = CASES[name]
    process, q = make(), basis()
    data = np.random.default_rng(2).normal(size=(40, SIZE)) + 0.5
    prior = ss.GaussianPrior.fit(process, data.reshape(40, *SHAPE), rank=SIZE)
    at_end = 1.0 if name != "heat_dissipation" else 1.0 - 1e-12
    factor, _, sigma, _ = formula(at_end)
    ended = data @ (q.T @ np.diag(factor) @ q).T
    covariance = np.cov(ended.T) + sigma**2 * np.eye(SIZE)
    x = ended.mean(0) + sigma * np.random.default_rng(3).normal(size=SIZE)
    expected = scipy.stats.multivariate_normal.logpdf(x, ended.mean(0), covariance)
    got = prior.log_prob(jnp.asarray(x.reshape(SHAPE)))
    assert float(got) == pytest.approx(expected, rel=1e-6)


def test_blurring_is_one_diagonal_corruption(x64):
    """So its operators commute, and it costs one transform there and back."""
    process = ss.blurring_diffusion(SHAPE)
    structure = process.corruption.structure
    assert structure.basis == "dct" and structure.positive_semidefinite
    # Variance preserving where nothing is blurred: in the mean.
    for t in (0.0, 0.3, 1.0):
        mean = process.corruption.eigenvalues(jnp.asarray(t))[0, 0]
        assert float(mean**2 + process.sigma(t) ** 2) == pytest.approx(1, abs=1e-14)


def test_a_sharp_mask_has_no_velocity():
    process = ss.processes.hard_mask(SHAPE)
    x = jnp.ones(SHAPE)
    with pytest.raises(ValueError, match="jumps as its level grows"):
        process.velocity(0.5, x, x)
    with pytest.raises(ValueError, match="jumps as its level grows"):
        process.drift(0.5, x)


def test_soft_blur_at_64_pixels():
    process = ss.soft_blur((64, 64, 3))
    assert process.corruption.half_size == 80
    assert float(process.level(1.0)) == pytest.approx(23.0)
    assert float(ss.soft_blur((64, 64, 3), max_blur=9.0).level(1.0)) == 9.0


def test_blur_and_noise_together(x64):
    """The paper's ablation: geometric noise throughout, and blur from the start."""
    process = ss.soft_blur((8, 8, 1), noise_fraction=1.0, blur_start=0.0)
    for t in (0.0, 0.3, 1.0):
        assert float(process.sigma(t)) == pytest.approx(0.01 * 10**t, rel=1e-12)
    assert float(process.level(0.5)) > 1.0 and float(process.level(1.0)) == 18.0


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"begins at 1\.0.*`blur_start=0\.0`"):
        ss.soft_blur((8, 8, 1), noise_fraction=1.0)
    with pytest.raises(ValueError, match=r"`num_levels=1` .* at least two levels"):
        ss.heat_dissipation(SHAPE, num_levels=1)
    with pytest.raises(ValueError, match="0 < `min_blur` < `max_blur`"):
        ss.heat_dissipation(SHAPE, min_blur=30.0)
    with pytest.raises(ValueError, match=r"`min_scale=0.0`.*see `cosine_vp`"):
        ss.blurring_diffusion(SHAPE, min_scale=0.0)
    with pytest.raises(ValueError, match="`log_snr_min` < `log_snr_max`, got 4"):
        ss.blurring_diffusion(SHAPE, log_snr_min=4.0, log_snr_max=-4.0)
    for make in (ss.soft_mask, ss.processes.hard_mask):
        with pytest.raises(ValueError, match=r"`max_masked=1.5`; expected a fraction"):
            make(SHAPE, max_masked=1.5)
