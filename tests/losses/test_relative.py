"""The relative weight: 1 for the best affine denoiser, measured against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import RelativeWeight, SoftScoreMatching, affine_losses

DIM = 6
TIMES = (0.1, 0.45, 0.9)


@pytest.fixture
def process(x64):
    return ss.Process(
        ss.corruptions.GaussianBlur((DIM,), 8),
        ss.schedules.Geometric(0.3, 2.0),
        ss.schedules.Geometric(0.1, 0.6),
    )


@pytest.fixture
def data(x64):
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, DIM)) @ rng.normal(size=(DIM, DIM)) + 3.0


@pytest.fixture
def oracle(data):
    """The posterior mean for Gaussian data of the same moments: the best affine."""
    covariance = np.cov(data, rowvar=False, bias=True)
    return ss.oracles.GaussianOracle(data.mean(0), covariance)


@pytest.mark.parametrize("t", TIMES)
def test_the_loss_of_the_best_affine_denoiser_is_one(process, data, oracle, t):
    """Exactly: the loss of an affine denoiser is a trace, with no draw in it."""
    c = np.asarray(process.corruption.matrix(float(process.level(t)), DIM))
    sigma2 = float(process.sigma(t)) ** 2
    covariance = np.asarray(oracle.covariance)
    gain = covariance @ c.T @ np.linalg.inv(c @ covariance @ c.T + sigma2 * np.eye(DIM))
    # C (D(x_t) - x0) = C (G C - I) (x0 - m) + sigma C G eta
    on_data, on_noise = c @ (gain @ c - np.eye(DIM)), c @ gain
    error = np.trace(on_data @ covariance @ on_data.T)
    error += sigma2 * np.trace(on_noise @ on_noise.T)
    weight = RelativeWeight.fit(process, data, points=21)
    # At a point of the table, and between two, where log-linear is the claim.
    at = float(weight(process, jnp.asarray(t)))
    assert at == pytest.approx(DIM / error, rel=1e-10 if t != 0.45 else 1e-9)


def test_where_there_is_nothing_to_learn_the_loss_is_zero(data):
    """Without noise, and where the mask covers all; a finite number in between."""
    masked = ss.Process(
        ss.corruptions.Fade(),
        ss.schedules.Linear(0.0, 1.0),
        ss.schedules.Linear(0.0, 0.5),
    )
    first, middle, last = affine_losses(masked, data, [0.0, 0.5, 1.0])
    assert first == last == 0
    # (1 - 0.5) x0 + 0.25 eta.
    s = np.linalg.eigvalsh(np.cov(data, rowvar=False, bias=True)) / 4
    assert middle == pytest.approx(np.mean(s * 0.0625 / (s + 0.0625)), rel=1e-9)


def test_weighted_loss_of_the_oracle_averages_to_one(process, data, oracle, key):
    loss = SoftScoreMatching(RelativeWeight.fit(process, data))
    number = 40_000
    xs = jnp.asarray(data)[np.arange(number) % len(data)]
    keys = jax.random.split(key, number)
    denoiser = oracle.denoiser(process)
    for t in TIMES:
        one = lambda x, k, t=t: loss(denoiser, x, t, key=k)
        values = np.asarray(jax.jit(jax.vmap(one))(xs, keys))
        assert abs(values.mean() - 1) < 4 * values.std() / np.sqrt(number)


def test_fewer_samples_than_components(process, x64):
    """The smaller product gives the same numbers as the covariance itself."""
    rng = np.random.default_rng(1)
    few = rng.normal(size=(4, DIM))
    weight = RelativeWeight.fit(process, few, points=2)
    blurred = np.asarray(jax.vmap(lambda x: process.apply(0.0, x))(jnp.asarray(few)))
    variances = np.linalg.eigvalsh(np.cov(blurred, rowvar=False, bias=True))
    noise = float(process.sigma(0.0)) ** 2
    expected = DIM / np.sum(variances * noise / (variances + noise))
    assert float(weight(process, jnp.asarray(0.0))) == pytest.approx(
        expected, rel=1e-10
    )


def test_kept_as_json(process, data, tmp_path):
    weight = RelativeWeight.fit(process, data)
    weight.save(tmp_path / "weight.json")
    again = RelativeWeight.load(tmp_path / "weight.json")
    for t in TIMES:
        a, b = (float(w(process, t)) for w in (weight, again))
        assert a == pytest.approx(b, rel=1e-14)
    (tmp_path / "weight.json").write_text('{"times": [0, 1]}')
    with pytest.raises(ValueError, match=r"weight.json does not hold a weight"):
        RelativeWeight.load(tmp_path / "weight.json")


def test_mistakes_are_named(as_a_user, process, data):
    with pytest.raises(ValueError, match="shapes"):
        RelativeWeight([0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="strictly increasing"):
        RelativeWeight([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="positive"):
        RelativeWeight.fit(process, np.ones((5, DIM)))
    with pytest.raises(ValueError, match="at least two samples"):
        RelativeWeight.fit(process, data[:1])
    with pytest.raises(TypeError, match="uint8"):
        RelativeWeight.fit(process, np.zeros((5, DIM), np.uint8))
    silent = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Constant(0.0),
    )
    with pytest.raises(ValueError, match="divides by sigma"):
        RelativeWeight.fit(silent, data)
