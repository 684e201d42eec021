"""The process against Gaussian truth, under operators that do not commute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.oracles import GaussianOracle

DIM = 5
TIMES = (0.1, 0.35, 0.9)


@pytest.fixture
def process(x64):
    """Zero-padded blur, which commutes neither across levels nor with the data."""
    return ss.Process(
        ss.corruptions.GaussianBlur((DIM,), 8),
        ss.schedules.Geometric(0.3, 3.0),
        ss.schedules.Geometric(0.05, 0.7),
    )


@pytest.fixture
def oracle(x64):
    rng = np.random.default_rng(5)
    root = rng.normal(size=(DIM, DIM))
    return GaussianOracle(rng.normal(size=DIM), root @ root.T / DIM)


def test_marginal_and_perturb(process, key):
    x0 = jax.random.normal(key, (DIM,))
    for t in TIMES:
        mean, std = process.marginal(t, x0)
        blurred = process.corruption.matrix(0.3 * 10**t, DIM) @ x0
        np.testing.assert_allclose(mean, blurred, atol=1e-14)
        assert float(std) == pytest.approx(0.05 * 14**t)
        x, eta = process.perturb(t, x0, key=key)
        np.testing.assert_allclose(x, mean + std * eta, atol=1e-15)


def test_score_is_tweedies(process, oracle, key):
    x = jax.random.normal(key, (DIM,))
    for t in TIMES:
        from_denoiser = process.score(t, x, oracle.posterior_mean(process, t, x))
        np.testing.assert_allclose(
            from_denoiser, oracle.score(process, t, x), atol=1e-10
        )


def test_time_derivative_of_the_operator(process, key):
    x = jax.random.normal(key, (DIM,))
    for t in TIMES:
        h = 1e-5
        difference = (process.apply(t + h, x) - process.apply(t - h, x)) / (2 * h)
        np.testing.assert_allclose(process.apply_dot(t, x), difference, atol=1e-9)
        np.testing.assert_allclose(process.drift(t, x), difference, atol=1e-9)


def test_velocity_carries_the_gaussian_along(process, oracle):
    """u is affine, u(x) = v + A (x - m), and must give m' = v, S' = A S + S A^T."""
    h = 1e-5
    for t in TIMES:
        mean, covariance = oracle.marginal_moments(process, t)
        later = oracle.marginal_moments(process, t + h)
        earlier = oracle.marginal_moments(process, t - h)
        mean_dot = (later[0] - earlier[0]) / (2 * h)
        covariance_dot = (later[1] - earlier[1]) / (2 * h)

        def velocity(x, t=t):
            return process.velocity(t, x, oracle.posterior_mean(process, t, x))

        slope = jax.jacfwd(velocity)(mean)
        np.testing.assert_allclose(velocity(mean), mean_dot, atol=1e-8)
        moved = slope @ covariance + covariance @ slope.T
        np.testing.assert_allclose(moved, covariance_dot, atol=1e-7)


def test_diffusion_is_the_growth_of_the_variance(process):
    for t in TIMES:
        h = 1e-6
        growth = (process.sigma(t + h) ** 2 - process.sigma(t - h) ** 2) / (2 * h)
        assert float(process.diffusion(t) ** 2) == pytest.approx(
            float(growth), rel=1e-8
        )


def test_ve_is_that_of_score_sde(x64):
    # VE(0.01, 50) at one half: std sqrt(0.5) and g = 2.918423066.
    process = ss.ve()
    assert float(process.sigma(0.5)) == pytest.approx(0.7071067811865476, abs=1e-14)
    assert float(process.diffusion(0.5)) == pytest.approx(2.918423066, abs=1e-9)
    x = jnp.arange(3.0)
    np.testing.assert_array_equal(process.apply(0.5, x), x)


def test_soft_blur_is_the_papers():
    process = ss.soft_blur((32, 32, 3))
    assert process.corruption.half_size == 32
    assert process.corruption.padding == "zero"
    for t, sigma in ((0.0, 0.01), (0.2, 0.1), (1.0, 0.1)):
        assert float(process.sigma(jnp.float32(t))) == pytest.approx(sigma, rel=1e-6)
    assert float(process.level(jnp.float32(0.1))) == pytest.approx(0.01)
    assert float(process.level(jnp.float32(1.0))) == pytest.approx(18.0)
    image = jax.random.uniform(jax.random.key(0), (32, 32, 3))
    np.testing.assert_array_equal(process.apply(0.0, image), image)


def test_mistakes_are_named(as_a_user):
    blur = ss.corruptions.GaussianBlur((DIM,))
    constant = ss.schedules.Constant(0.1)
    with pytest.raises(TypeError, match="`noise`; expected"):
        ss.Process(blur, constant, lambda t: t)  # pyright: ignore
    with pytest.raises(ValueError, match="`t0` < `t1`"):
        ss.Process(blur, constant, constant, t0=1.0, t1=0.0)
    silent = ss.Process(blur, constant, ss.schedules.Constant(0.0))
    with pytest.raises(ValueError, match=r"divides by sigma.*sigma\(0.0\) = 0.0"):
        silent.require_noise("Sampling")
    # Without any noise a score has weight zero; from zero on it would be infinite.
    silent.require_score("Sampling")
    late = ss.Process(blur, constant, ss.schedules.Linear(0.0, 1.0))
    with pytest.raises(ValueError, match="divides by sigma"):
        late.require_score("Sampling")


def by(corruption, levels, **options):
    return ss.Process(corruption, levels, ss.schedules.Constant(0.1), **options)


def test_a_process_that_does_not_start_clean_is_refused(x64, as_a_user):
    """With what is lost: of white noise, the root mean square of what is missing."""
    sc, line = ss.corruptions, ss.schedules.Linear
    # Levels run the wrong way; a quarter is gone already.
    with pytest.raises(ValueError, match=r"level is 0.0, where `Scale`.*by 100%"):
        by(sc.Scale(), line(0.0, 1.0))
    with pytest.raises(ValueError, match=r"`Fade` .* by 25% .* is the level 0.0"):
        by(sc.Fade(), line(0.25, 1.0))
    # One of four pixels is a half of the root mean square.
    with pytest.raises(ValueError, match=r"`CenterMask` changes a sample by 50%"):
        by(sc.CenterMask((2, 2)), line(0.25, 1.0))
    # By its dense matrix: no basis, hence a trial.
    blur = sc.GaussianBlur((3,), 1)
    centre, edge = np.array([1.0, np.exp(-0.5 / 0.8**2)]) / (
        1 + 2 * np.exp(-0.5 / 0.8**2)
    )
    matrix = centre * np.eye(3) + edge * (np.eye(3, k=1) + np.eye(3, k=-1))
    noise = np.random.default_rng(0).normal(size=3)
    change = np.linalg.norm(matrix @ noise - noise) / np.linalg.norm(noise)
    with pytest.raises(ValueError, match=rf"`GaussianBlur` .* by {change:.0%} of"):
        by(blur, line(0.8, 3.0))
    # A function that nobody has said anything about is tried as well.
    double = sc.FunctionCorruption(lambda theta, x: (2 + theta) * x, (3,))
    with pytest.raises(ValueError, match=r"`FunctionCorruption` .* by 100% of"):
        by(double, line(0.0, 1.0))
    # Neither basis nor shape: by how far the level has gone.
    with pytest.raises(ValueError, match="`Desaturate`"):
        by(sc.Desaturate((0.8, 0.2)), line(0.4, 1.0))
    by(sc.Desaturate((0.8, 0.2)), line(0.0, 1.0))
    by(sc.Fade(), line(0.25, 1.0), clean_start=False)


def test_a_late_start_is_clean_if_time_zero_was():
    ss.rectified_flow(t0=0.3)
    fade, line = ss.corruptions.Fade(), ss.schedules.Linear
    by(fade, line(0.0, 1.0), t0=0.3)
    with pytest.raises(ValueError, match="C_t = I at its start"):
        by(fade, line(0.1, 1.0), t0=0.3)
    # A hundredth of a pixel is a blur that does nothing.
    by(ss.corruptions.GaussianBlur((8,)), line(0.01, 0.4))


def test_a_traced_start_passes_and_a_known_one_is_seen_under_jit():
    def start(level):
        levels = ss.schedules.PiecewiseLinear([0.0, 1.0], jnp.stack([level, level + 1]))
        return by(ss.corruptions.HeatBlur((4,)), levels).sigma(0.5)

    jax.jit(start)(jnp.float32(3.0))
    jax.grad(start)(jnp.float32(3.0))
    with pytest.raises(ValueError, match="C_t = I at its start"):
        jax.jit(lambda: by(ss.corruptions.Fade(), ss.schedules.Linear(0.9, 1.0)))()
    silent = ss.cold(ss.corruptions.Fade(), ss.schedules.Linear())

    @jax.jit
    def loss(x):
        weighted = ss.losses.SoftScoreMatching("inverse_variance")
        denoiser = ss.FunctionDenoiser(lambda t, x: x, silent)
        return weighted(denoiser, x, 0.5, key=jax.random.key(0))

    with pytest.raises(ValueError, match=r"'inverse_variance'.* divides by sigma"):
        loss(jnp.ones(3))


def test_levels_that_leave_the_range_are_refused():
    with pytest.raises(ValueError, match=r"at time 1.0: `CenterMask` got the level 18"):
        by(ss.corruptions.CenterMask((4, 4)), ss.schedules.Linear(0.0, 18.0))
