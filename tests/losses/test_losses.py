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


def guess(t, x):
    return jnp.tanh(x) * (1 + t)


@pytest.fixture
def denoiser(process):
    return ss.FunctionDenoiser(guess, process)


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
def test_soft_score_matching_is_the_papers(process, denoiser, key, weight, power):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.4
    x_t, _ = seen(process, x0, t, key)
    c = np.asarray(process.corruption.matrix(float(process.level(t)), DIM))
    sigma = float(process.sigma(t))
    residual = c @ np.asarray(denoiser(t, x_t) - x0)
    expected = (residual**2).sum() / DIM / sigma**power
    loss = ss.losses.SoftScoreMatching(weight)
    got = loss(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(expected, rel=1e-12)
    if weight == "inverse_variance":
        # Appendix D trains all models with it.
        default = ss.losses.SoftScoreMatching()(denoiser, x0, t, key=key)
        assert float(default) == float(got)


def test_denoising_score_matching_is_on_the_score(process, denoiser, key):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.6
    x_t, eta = seen(process, x0, t, key)
    target = -eta / process.sigma(t)  # the score of x_t given x0
    score = process.score(t, x_t, denoiser(t, x_t))
    expected = jnp.mean((score - target) ** 2)
    got = ss.losses.DenoisingScoreMatching()(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(float(expected), rel=1e-10)


def test_clean_prediction_and_an_operator_of_ones_own(process, denoiser, key):
    x0 = jax.random.normal(key, (DIM,))
    t = 0.6
    x_t, _ = seen(process, x0, t, key)
    error = denoiser(t, x_t) - x0
    plain = ss.losses.CleanPrediction(lambda process, t: 3.0 * t)
    expected = 3 * t * jnp.mean(error**2)
    got = plain(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(float(expected))
    doubled = ss.losses.WeightedResidual(lambda process, t, r: 2 * r, "one")
    got = doubled(denoiser, x0, t, key=key)
    assert float(got) == pytest.approx(float(4 * jnp.mean(error**2)))


@pytest.mark.parametrize(
    ("operator", "named"),
    [
        ("corruption", ss.losses.SoftScoreMatching),
        ("identity", ss.losses.CleanPrediction),
        ("velocity", ss.losses.VelocityMatching),
    ],
)
def test_named_losses_are_weighted_residuals(process, denoiser, key, operator, named):
    x0 = jax.random.normal(key, (DIM,))
    general = ss.losses.WeightedResidual(operator, "inverse_std")
    got = named("inverse_std")(denoiser, x0, 0.3, key=key)
    assert float(got) == float(general(denoiser, x0, 0.3, key=key))
    sigma = float(process.sigma(0.3))
    plain = float(named("one")(denoiser, x0, 0.3, key=key))
    assert float(got) == pytest.approx(plain / sigma, rel=1e-12)


def every_loss(process):
    """One of each, of those that look at a corrupted sample."""
    data = np.random.default_rng(2).normal(size=(50, DIM))
    sigma_max = process.known_sigma(process.t1)
    return {
        "soft": ss.losses.SoftScoreMatching(),
        "denoising": ss.losses.DenoisingScoreMatching(),
        "clean": ss.losses.CleanPrediction("inverse_std"),
        "velocity": ss.losses.VelocityMatching(),
        "relative": ss.losses.SoftScoreMatching(
            ss.losses.RelativeWeight.fit(process, data)
        ),
        "sum": ss.losses.SoftScoreMatching() + 0.1 * ss.losses.CleanPrediction(),
        "implicit": ss.losses.ImplicitScoreMatching(),
        "sliced": ss.losses.SlicedScoreMatching(projections=2),
        "annealed": ss.losses.AnnealedDSM([0.1, 0.3, sigma_max]),
    }


def test_a_python_float_is_a_time(process, denoiser, key):
    x0 = jax.random.normal(key, (DIM,))
    for name, loss in every_loss(process).items():
        by_float = loss(denoiser, x0, 0.4, key=key)
        by_array = loss(denoiser, x0, jnp.asarray(0.4), key=key)
        assert float(by_float) == float(by_array), name


@pytest.mark.slow
def test_single_precision_stays_so(process, denoiser, key):
    """With x64 on; and a penalty is that of double precision, to within rounding."""
    x0, losses = jax.random.normal(key, (3, DIM), jnp.float32), every_loss(process)

    @jax.jit
    def run(x0):
        return [
            ss.losses.batch_losses(loss, denoiser, x0, key=key)
            for loss in losses.values()
        ]

    for (name, loss), each in zip(losses.items(), run(x0), strict=True):
        assert {value.dtype for value in each} == {np.dtype(np.float32)}, name
        if isinstance(loss, ss.losses.AbstractResidualLoss):
            single = loss.penalty(process, jnp.float32(0.4), x0[0])
            double = loss.penalty(process, jnp.float64(0.4), x0[0].astype(float))
            assert single.dtype == jnp.float32, name
            assert float(single) == pytest.approx(float(double), rel=1e-5), name


def test_soft_score_matching_sees_what_survives_and_no_more(x64, key):
    """An error in the null space of C_t is free; the same error costs in the clear."""

    class Forget(ss.corruptions.AbstractCorruption):
        def apply(self, theta, x):
            return x.at[0].set(0.0)

    level, noise = ss.schedules.Constant(1.0), ss.schedules.Constant(0.1)
    process = ss.Process(Forget(), level, noise)
    x0 = jax.random.normal(key, (DIM,))

    def wrong(t, x):
        return guess(t, x).at[0].add(7.0)

    right, wrong = (ss.FunctionDenoiser(fn, process) for fn in (guess, wrong))
    for loss, free in (
        (ss.losses.SoftScoreMatching(), True),
        (ss.losses.CleanPrediction(), False),
    ):
        right_value = loss(right, x0, 0.5, key=key)
        wrong_value = loss(wrong, x0, 0.5, key=key)
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

        denoiser = ss.FunctionDenoiser(shifted, process)
        return loss(denoiser, x0, 0.5, key=loss_key)

    zero = (jnp.zeros(DIM), jnp.zeros(DIM))
    gradients = jax.jit(jax.vmap(jax.grad(one), in_axes=(None, 0)))(zero, keys)
    off = (jnp.full(DIM, 0.3), jnp.zeros(DIM))
    control = jax.jit(jax.vmap(jax.grad(one), in_axes=(None, 0)))(off, keys)

    def z_scores(g):
        g = np.concatenate([np.asarray(part) for part in g], axis=1)
        return np.abs(g.mean(0) / (g.std(0) / np.sqrt(len(g))))

    assert z_scores(gradients).max() < 4
    assert z_scores(control).max() > 20, "the test can tell a wrong denoiser"


def test_batch_loss_is_the_mean_over_samples(process, denoiser, key):
    x0 = jax.random.normal(key, (6, DIM))
    loss = ss.losses.SoftScoreMatching()
    got = batch_loss(loss, denoiser, x0, key=key)
    time_key, sample_key, _ = jax.random.split(key, 3)
    times = draw_times(process, 6, key=time_key)
    keys = jax.random.split(sample_key, 6)
    each = [loss(denoiser, x0[i], times[i], key=keys[i]) for i in range(6)]
    assert float(got) == pytest.approx(np.mean(each), rel=1e-12)


def test_mistakes_are_named(as_a_user, process, denoiser, key):
    x0 = jnp.zeros(DIM)
    loss = ss.losses.SoftScoreMatching()
    with pytest.raises(ValueError, match="Unknown weight 'snr' for `SoftScoreMatching"):
        ss.losses.SoftScoreMatching("snr")  # pyright: ignore
    with pytest.raises(ValueError, match="operator='blur'"):
        ss.losses.WeightedResidual("blur")  # pyright: ignore
    with pytest.raises(ValueError, match="the denoiser's output"):
        loss(ss.FunctionDenoiser(lambda t, x: x[:2], process), x0, 0.1, key=key)
    with pytest.raises(
        TypeError, match=r"got function.*Wrap a network in `softsde.Den"
    ):
        loss(guess, x0, 0.1, key=key)
    with pytest.raises(TypeError, match="`batch_losses` got function"):
        batch_loss(loss, guess, jnp.zeros((2, DIM)), key=key)  # pyright: ignore
    with pytest.raises(TypeError, match=r"`SoftScoreMatching` needs .*int32"):
        loss(denoiser, jnp.zeros(DIM, jnp.int32), 0.1, key=key)
    with pytest.raises(TypeError, match="uint8"):
        batch_loss(loss, denoiser, np.zeros((2, DIM), np.uint8), key=key)
    silent = ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Constant(0.0),
    )
    with pytest.raises(ValueError, match="'inverse_variance', unlike 'one', divides"):
        loss(ss.FunctionDenoiser(guess, silent), x0, 0.1, key=key)
