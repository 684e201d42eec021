"""Velocity matching, discrete levels, weights and sums, against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import SumOfLosses

DIM = 4


@pytest.fixture
def process(x64):
    return ss.Process(
        ss.corruptions.GaussianBlur((DIM,), 8),
        ss.schedules.Geometric(0.3, 3.0),
        ss.schedules.Geometric(0.05, 0.7),
    )


def guess(t, x):
    return jnp.tanh(x) * (1 + t)


@pytest.fixture
def denoiser(process):
    return ss.FunctionDenoiser(guess, process)


def seen(process, x0, t, key):
    noise_key, _ = jax.random.split(key)
    return process.perturb(t, x0, key=noise_key)


def test_velocity_matching_regresses_the_velocity(process, denoiser, key):
    x0, t, h = jax.random.normal(key, (DIM,)), 0.6, 1e-5
    x_t, eta = seen(process, x0, t, key)

    def path(t):
        """Moves this very sample to another time."""
        return process.apply(t, x0) + process.sigma(t) * eta

    target = (path(t + h) - path(t - h)) / (2 * h)
    velocity = process.velocity(t, x_t, denoiser(t, x_t))
    expected = jnp.mean((velocity - target) ** 2)
    loss = ss.losses.VelocityMatching()
    got = loss(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(float(expected), rel=1e-8)


def test_velocity_matching_is_flow_matching(x64, key):
    """On rectified flow: against eta - x0, as it is published."""
    process, t = ss.rectified_flow(), 0.6
    x0 = jax.random.normal(key, (DIM,))
    x_t, eta = seen(process, x0, t, key)
    velocity = (x_t - guess(t, x_t)) / t
    expected = 3.0 * jnp.mean((velocity - (eta - x0)) ** 2)
    loss = ss.losses.VelocityMatching(lambda process, t: 5 * jnp.asarray(t))
    got = loss(ss.FunctionDenoiser(guess, process), x0, t, key=key)
    assert float(got) == pytest.approx(float(expected), rel=1e-12)


def test_a_sum_shares_one_evaluation(process, denoiser, key):
    x0, t, calls = jax.random.normal(key, (DIM,)), 0.3, []

    def counted(t, x):
        calls.append(t)
        return guess(t, x)

    parts = (
        ss.losses.SoftScoreMatching("inverse_variance"),
        ss.losses.CleanPrediction(),
        ss.losses.VelocityMatching(),
    )
    total = parts[0] + parts[1] * 0.1 + 3.0 * (parts[2] + parts[1])
    got = total(ss.FunctionDenoiser(counted, process), x0, t, key=key)
    assert len(calls) == 1
    a, b, c = (float(part(denoiser, x0, t, key=key)) for part in parts)
    assert float(got) == pytest.approx(a + 0.1 * b + 3 * (c + b), rel=1e-12)
    assert isinstance(total, SumOfLosses)
    with pytest.raises(TypeError, match="unsupported operand"):
        parts[0] + (lambda: 0.0)  # pyright: ignore


def test_annealed_dsm_is_that_of_ncsn(x64, key):
    """Uniform times are uniform levels; each costs sigma^2 |s + eta / sigma|^2 / d."""
    process = ss.ve(0.01, 1.0)
    denoiser = ss.FunctionDenoiser(guess, process)
    sigmas = ss.schedules.noise_sequence("sigmoid", 5)
    loss = ss.losses.AnnealedDSM(sigmas)
    x0 = jax.random.normal(key, (DIM,))
    ascending = np.sort(np.asarray(sigmas))
    for t in (0.0, 0.1, 0.35, 0.59, 0.61, 0.999, 1.0):
        sigma = ascending[min(int(5 * t), 4)]
        time = np.log(sigma / 0.01) / np.log(100)
        x_t, eta = seen(process, x0, jnp.asarray(time), key)
        np.testing.assert_allclose(x_t, x0 + sigma * eta, rtol=1e-12)
        score = (guess(time, x_t) - x_t) / sigma**2
        expected = sigma**2 * np.mean(np.asarray(score + eta / sigma) ** 2)
        got = loss(denoiser, x0, t, key=key)
        assert float(got) == pytest.approx(expected, rel=1e-10)
        # As published: the sum over the components, and one half.
        printed = ss.losses.AnnealedDSM(sigmas, as_printed=True)
        published = 0.5 * sigma**2 * np.sum(np.asarray(score + eta / sigma) ** 2)
        got = printed(denoiser, x0, t, key=key)
        assert float(got) == pytest.approx(published, rel=1e-10)
        # Another loss at the same levels.
        clean = ss.losses.AtNoiseLevels(ss.losses.CleanPrediction(), sigmas)
        got = clean(denoiser, x0, t, key=key)
        expected = np.mean(np.asarray(guess(time, x_t) - x0) ** 2)
        assert float(got) == pytest.approx(expected, rel=1e-10)


def test_weights_of_a_process(x64):
    vp, ve = ss.vp(), ss.ve()
    for t in (0.05, 0.3, 0.8):
        alpha = np.exp(-0.25 * 19.9 * t**2 - 0.05 * t)
        snr = alpha**2 / (1 - alpha**2)
        got = ss.losses.MinSNRWeight(gamma=5.0)(vp, t)
        assert float(got) == pytest.approx(min(snr, 5.0), rel=1e-12)
        sigma = 0.01 * 5000**t
        got = ss.losses.EDMWeight()(ve, t)
        expected = (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2
        assert float(got) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("make", [ss.edm, ss.vp])
def test_edm_weighs_the_networks_own_error_by_one(x64, key, make):
    """Under EDM's weight the loss is |F - F*|^2 / d, F* the network's ideal output."""
    process, t = make(), jnp.asarray(0.45)
    edm = ss.parametrisations.EDM(0.7)
    x0 = jax.random.normal(key, (DIM,))
    x_t, _ = seen(process, x0, t, key)
    network = lambda t, x, condition, *, key=None: jnp.sin(x) + t
    output = network(*edm.network_input(process, t, x_t), None)
    target = ss.convert(x0, ss.parametrisations.Clean(), edm, process, t, x_t)
    loss = ss.losses.CleanPrediction(ss.losses.EDMWeight(0.7))
    got = loss(ss.Denoiser(network, process, edm), x0, t, key=key)
    expected = jnp.mean((output - target) ** 2)
    assert float(got) == pytest.approx(float(expected), rel=1e-11)


class Course(ss.corruptions.AbstractCorruption):
    """Mixes the first component, has just lost the second, and never had the third."""

    def apply(self, theta, x):
        return jnp.stack([x[0] + 0.3 * x[1], (1 - theta) * x[1], 0 * x[2]])


@pytest.mark.parametrize(
    ("loss", "seen", "free"),
    [
        # C_t D alone: one row; two outputs of four parameters each are free.
        (ss.losses.SoftScoreMatching("one"), [[1.0, 0.3, 0.0]], 8),
        # dC_t/dt sees what is being lost. What was never there, nothing sees.
        (ss.losses.VelocityMatching(), [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 4),
        (ss.losses.CleanPrediction(), np.eye(3), 0),
    ],
    ids=["soft", "velocity", "clean"],
)
def test_the_least_affine_denoiser_is_the_oracles_where_the_loss_sees(
    x64, key, loss, seen, free
):
    """Over D(x) = A x + b the loss is a quadratic: one Newton step minimises it.

    20,000 draws; the standard errors are those of the estimating equations.
    """
    number, t = 20_000, 1.0
    noise = ss.schedules.Geometric(0.1, 1.0)
    process = ss.Process(Course(), ss.schedules.Linear(), noise)
    root = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.4, 0.7]])
    oracle = ss.oracles.GaussianOracle(np.array([0.5, -1.0, 2.0]), root @ root.T)

    def one(parameters, key):
        data_key, loss_key = jax.random.split(key)
        x0 = oracle.mean + jnp.asarray(root) @ jax.random.normal(data_key, (3,))
        affine = lambda t, x: parameters[:, :3] @ x + parameters[:, 3]
        return loss(ss.FunctionDenoiser(affine, process), x0, t, key=loss_key)

    keys = jax.random.split(key, number)

    @jax.jit
    def gradients(parameters):
        each = jax.vmap(jax.grad(one), in_axes=(None, 0))(parameters, keys)
        return each.reshape(number, 12)

    zero = np.zeros((3, 4))
    at_zero = np.asarray(gradients(zero)).mean(0)
    columns = [
        np.asarray(gradients(e.reshape(3, 4))).mean(0) - at_zero for e in np.eye(12)
    ]
    hessian = np.stack(columns, axis=1)
    values = np.linalg.eigvalsh(hessian)
    assert np.sum(np.abs(values) < 1e-10) == free, "what the loss leaves free"
    inverse = np.linalg.pinv(hessian, rcond=1e-9, hermitian=True)
    least = -inverse @ at_zero
    spread = np.cov(np.asarray(gradients(least.reshape(3, 4))).T)
    covariance = inverse @ spread @ inverse / number
    # The oracle's own A and b, read off it.
    shift = oracle.posterior_mean(process, t, jnp.zeros(3))
    points = jax.vmap(lambda x: oracle.posterior_mean(process, t, x))(jnp.eye(3))
    exact = np.concatenate([(points - shift[None]).T, shift[:, None]], axis=1)
    rows = np.kron(seen, np.eye(4))
    error = rows @ (least - exact.reshape(-1))
    deviation = np.sqrt(np.diag(rows @ covariance @ rows.T))
    assert np.all(np.abs(error) < 4 * deviation)
    assert deviation.max() < 0.02, "the test can tell a wrong denoiser"


def test_mistakes_are_named(as_a_user, process, denoiser, key):
    x0 = jnp.zeros(DIM)
    silent = ss.Process(
        ss.corruptions.Scale(), ss.schedules.Linear(1.0, 0.0), ss.schedules.Linear()
    )
    silently = ss.FunctionDenoiser(guess, silent)
    with pytest.raises(ValueError, match="'velocity' divides by sigma"):
        ss.losses.VelocityMatching()(silently, x0, 0.1, key=key)
    with pytest.raises(ValueError, match="`MinSNRWeight` needs C_t = alpha_t I"):
        weighted = ss.losses.CleanPrediction(ss.losses.MinSNRWeight())
        weighted(denoiser, x0, 0.1, key=key)
    with pytest.raises(ValueError, match="`EDMWeight` divides by sigma"):
        weighted = ss.losses.CleanPrediction(ss.losses.EDMWeight())
        weighted(silently, x0, 0.1, key=key)
    with pytest.raises(ValueError, match="`gamma` > 0"):
        ss.losses.MinSNRWeight(gamma=0.0)
    with pytest.raises(ValueError, match="`sigma_data` > 0"):
        ss.losses.EDMWeight(-1.0)
    with pytest.raises(TypeError, match="unsupported operand"):
        ss.losses.CleanPrediction() * ss.losses.CleanPrediction()  # pyright: ignore
    narrow = ss.FunctionDenoiser(guess, ss.ve(0.01, 1.0))
    with pytest.raises(ValueError, match="noise of this process runs from"):
        ss.losses.AnnealedDSM([0.001, 1.0])(narrow, x0, 0.1, key=key)
    for make in (
        ss.losses.AnnealedDSM,
        lambda sigmas: ss.losses.AtNoiseLevels(ss.losses.CleanPrediction(), sigmas),
    ):
        with pytest.raises(ValueError, match="at least one level"):
            make([])
        with pytest.raises(ValueError, match="`sigmas` > 0"):
            make([0.0, 1.0])


def test_velocity_matching_refuses_a_corruption_that_jumps(process, key):
    """A jump that nobody declared is found too: its derivative does not see it."""

    class Steps(ss.corruptions.AbstractCorruption):
        def apply(self, theta, x):
            kept = jnp.arange(DIM, dtype=x.dtype) >= jnp.floor(theta * DIM)
            return kept.astype(x.dtype) * x

    jumps = ss.Process(Steps(), ss.schedules.Linear(), process.noise)
    denoiser = ss.FunctionDenoiser(guess, jumps)
    with pytest.raises(ValueError, match="`Steps` jumps at time"):
        ss.losses.VelocityMatching()(denoiser, jnp.ones(DIM), 0.1, key=key)
