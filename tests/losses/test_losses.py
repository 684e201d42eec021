"""Losses: each member against the formula of its paper, and what each identifies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import batch_loss, draw_times

DIM = 4


@pytest.fixture
def process(x64):
    return ss.Process(
        ss.corruptions.GaussianBlur((DIM,), 8),
        ss.schedules.Geometric(0.3, 3.0),
        ss.schedules.Geometric(0.05, 0.7),
    )


def denoiser(t, x):
    return jnp.tanh(x) * (1 + t)


def seen(process, x0, t, key):
    """The noisy sample that a loss draws from `key`."""
    noise_key, _ = jax.random.split(key)
    return process.perturb(t, x0, key=noise_key)


@pytest.mark.parametrize(
    ("weight", "power"),
    [
        ("one", 0),
        ("inverse_std", 1),
        ("inverse_variance", 2),
        ("inverse_variance_squared", 4),
    ],
)
def test_soft_score_matching_is_the_papers(process, key, weight, power):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.4
    x_t, _ = seen(process, x0, t, key)
    c = np.asarray(process.corruption.matrix(float(process.level(t)), DIM))
    sigma = float(process.sigma(t))
    residual = c @ np.asarray(denoiser(t, x_t) - x0)
    expected = (residual**2).sum() / DIM / sigma**power
    loss = ss.losses.SoftScoreMatching(weight)
    got = loss(denoiser, process, x0, t, key=key)
    assert float(got) == pytest.approx(expected, rel=1e-12)


def test_denoising_score_matching_is_on_the_score(process, key):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.6
    x_t, eta = seen(process, x0, t, key)
    target = -eta / process.sigma(t)  # the score of x_t given x0
    score = process.score(t, x_t, denoiser(t, x_t))
    expected = jnp.mean((score - target) ** 2)
    got = ss.losses.DenoisingScoreMatching()(denoiser, process, x0, t, key=key)
    assert float(got) == pytest.approx(float(expected), rel=1e-10)


def test_clean_prediction_and_an_operator_of_ones_own(process, key):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.6
    x_t, _ = seen(process, x0, t, key)
    error = denoiser(t, x_t) - x0
    plain = ss.losses.CleanPrediction(lambda t: 3.0 * t)
    expected = 3 * t * jnp.mean(error**2)
    got = plain(denoiser, process, x0, t, key=key)
    assert float(got) == pytest.approx(float(expected))
    doubled = ss.losses.WeightedResidual(lambda process, t, r: 2 * r)
    got = doubled(denoiser, process, x0, t, key=key)
    assert float(got) == pytest.approx(float(4 * jnp.mean(error**2)))


def test_soft_score_matching_sees_what_survives_and_no_more(x64, key):
    """An error in the null space of C_t is free; the same error costs in the clear."""

    class Forget(ss.corruptions.AbstractCorruption):
        def apply(self, theta, x):
            return x.at[0].set(0.0)

    level, noise = ss.schedules.Constant(1.0), ss.schedules.Constant(0.1)
    process = ss.Process(Forget(), level, noise)
    x0 = jax.random.normal(key, (DIM,))

    def wrong(t, x):
        return denoiser(t, x).at[0].add(7.0)

    for loss, free in (
        (ss.losses.SoftScoreMatching(), True),
        (ss.losses.CleanPrediction(), False),
    ):
        right_value = loss(denoiser, process, x0, 0.5, key=key)
        wrong_value = loss(wrong, process, x0, 0.5, key=key)
        assert (float(right_value) == float(wrong_value)) is free


def test_the_posterior_mean_minimises(process, key):
    """Over affine denoisers x -> D(x) + a + b x the loss is stationary at the oracle.

    The gradient is a mean over 20,000 draws; its standard error is measured on them.
    """
    rng = np.random.default_rng(4)
    root = rng.normal(size=(DIM, DIM))
    oracle = ss.oracles.GaussianOracle(rng.normal(size=DIM), root @ root.T)
    factor = jnp.linalg.cholesky(oracle.covariance)
    keys = jax.random.split(key, 20_000)
    loss = ss.losses.SoftScoreMatching("inverse_variance")

    def one(parameters, key):
        data_key, loss_key = jax.random.split(key)
        x0 = oracle.mean + factor @ jax.random.normal(data_key, (DIM,))

        def shifted(t, x):
            return (
                oracle.posterior_mean(process, t, x) + parameters[0] + parameters[1] * x
            )

        return loss(shifted, process, x0, 0.5, key=loss_key)

    zero = (jnp.zeros(DIM), jnp.zeros(DIM))
    gradients = jax.jit(jax.vmap(jax.grad(one), in_axes=(None, 0)))(zero, keys)
    off = (jnp.full(DIM, 0.3), jnp.zeros(DIM))
    control = jax.jit(jax.vmap(jax.grad(one), in_axes=(None, 0)))(off, keys)

    def z_scores(g):
        g = np.concatenate([np.asarray(part) for part in g], axis=1)
        return np.abs(g.mean(0) / (g.std(0) / np.sqrt(len(g))))

    assert z_scores(gradients).max() < 4
    assert z_scores(control).max() > 20, "the test can tell a wrong denoiser"


def test_batch_loss_is_the_mean_over_samples(process, key):
    x0 = jax.random.normal(key, (6, DIM))
    loss = ss.losses.SoftScoreMatching()
    got = batch_loss(loss, denoiser, process, x0, key=key)
    time_key, sample_key = jax.random.split(key)
    times = draw_times(process, 6, key=time_key)
    keys = jax.random.split(sample_key, 6)
    each = [loss(denoiser, process, x0[i], times[i], key=keys[i]) for i in range(6)]
    assert float(got) == pytest.approx(np.mean(each), rel=1e-12)


def test_low_discrepancy_times_fill_the_interval_evenly(process, key):
    times = np.sort(draw_times(process, 50, key=key, sampler="low_discrepancy"))
    np.testing.assert_allclose(np.diff(times), 1 / 50, atol=1e-12)
    assert 0 <= times[0] < 1 / 50
    # Uniform on average: the shift alone is random.
    keys = jax.random.split(key, 4000)
    first = jax.vmap(
        lambda k: draw_times(process, 5, key=k, sampler="low_discrepancy")[0]
    )(keys)
    assert abs(float(first.mean()) - 0.5) < 4 / np.sqrt(12 * 4000)


def test_mistakes_are_named(as_a_user, process, key):
    x0 = jnp.zeros(DIM)
    with pytest.raises(ValueError, match="Unknown weight 'snr'"):
        ss.losses.SoftScoreMatching("snr")(denoiser, process, x0, 0.1, key=key)
    with pytest.raises(ValueError, match="operator='blur'"):
        ss.losses.WeightedResidual("blur")
    with pytest.raises(ValueError, match="Unknown time sampler"):
        draw_times(process, 3, key=key, sampler="sobol")
    with pytest.raises(ValueError, match="the denoiser's output"):
        loss = ss.losses.SoftScoreMatching()
        loss(lambda t, x: x[:2], process, x0, 0.1, key=key)
    with pytest.raises(TypeError, match="uint8"):
        loss = ss.losses.SoftScoreMatching()
        batch_loss(loss, denoiser, process, np.zeros((2, DIM), np.uint8), key=key)
    silent = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Constant(0.0),
    )
    with pytest.raises(ValueError, match="'inverse_variance' divides by sigma"):
        loss = ss.losses.SoftScoreMatching("inverse_variance")
        loss(denoiser, silent, x0, 0.1, key=key)
