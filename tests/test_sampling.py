"""`sample`: what it returns is what its solver draws, and draws do not know a batch."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
import softsde.train

SHAPE = (4, 3, 1)


@pytest.fixture
def process():
    return ss.soft_blur(SHAPE, max_blur=3.0)


@pytest.fixture
def data():
    return np.float32(np.random.default_rng(0).uniform(size=(4, *SHAPE)))


@pytest.fixture
def oracle(data):
    return ss.oracles.EmpiricalOracle(data)


@pytest.fixture
def prior(process, data):
    return ss.GaussianPrior.fit(process, data)


def test_the_momentum_sampler_draws_the_data(process, data, oracle, key):
    """With the exact denoiser of four images: near one of them, each as often.

    The start is a corrupted draw of the data. Distances: the state keeps noise of
    sigma 0.01 over 12 pixels, so its mean square is 0.0012; frequencies: chi-squared
    of 3 degrees of freedom, 16.3 at one in a thousand.
    """
    which_key, noise_key, key = jax.random.split(key, 3)
    number = 400
    which = jax.random.randint(which_key, (number,), 0, 4)
    keys = jax.random.split(noise_key, number)
    x1 = jax.vmap(lambda i, k: process.perturb(1.0, jnp.asarray(data)[i], key=k)[0])(
        which, keys
    )
    drawn = ss.sample(
        process,
        oracle.denoiser(process),
        x1=x1,
        num_steps=200,
        denoise_last=False,
        key=key,
    )
    assert drawn.nfe == 200
    squared = ((np.asarray(drawn.x)[:, None] - data[None]) ** 2).sum((2, 3, 4))
    assert np.median(squared.min(1)) == pytest.approx(12e-4, rel=0.25)
    counts = np.bincount(squared.argmin(1), minlength=4)
    assert ((counts - 100) ** 2 / 100).sum() < 16.3


def test_it_is_diffeqsolve(process, oracle, key):
    """The same draw from diffrax directly."""
    denoiser = oracle.denoiser(process)
    x1 = jnp.full((1, *SHAPE), 0.3)
    drawn = ss.sample(
        process, denoiser, x1=x1, num_steps=16, denoise_last=False, key=key
    )
    _, path_key = jax.random.split(jax.random.fold_in(key, 0))
    term = ss.reverse_sde(process, denoiser, shape=SHAPE, key=path_key)
    direct = diffrax.diffeqsolve(
        term, ss.Momentum(), 0.0, 1.0, 1 / 16, x1[0], adjoint=diffrax.ForwardMode()
    )
    np.testing.assert_allclose(drawn.x[0], direct.ys[0], atol=1e-5)


def test_a_sample_depends_on_its_key_and_index_only(process, prior, key):

    def denoiser(t, x):
        # Not the oracle, whose few outcomes would hide a repeated draw.
        return 0.5 * x + 0.1 * t

    def draw(number, **options):
        return ss.sample(
            process,
            denoiser,
            prior=prior,
            num_samples=number,
            num_steps=8,
            key=key,
            **options,
        ).x

    alone = draw(7)
    assert len(np.unique(np.asarray(alone).sum((1, 2, 3)))) == 7
    np.testing.assert_allclose(draw(3), alone[:3], atol=1e-6)
    np.testing.assert_allclose(draw(7, batch_size=2), alone, atol=1e-6)
    mesh = ss.train.make_mesh()
    assert mesh.size == 2
    np.testing.assert_allclose(draw(7, mesh=mesh), alone, atol=1e-6)


def test_trajectory_and_predictions(process, oracle, prior, key):
    denoiser = oracle.denoiser(process)
    times = [1.0, 0.5, 0.2, 0.05]
    drawn = ss.sample(
        process,
        denoiser,
        prior=prior,
        num_samples=2,
        times=times,
        save_trajectory=True,
        key=key,
    )
    assert drawn.trajectory is not None and drawn.predictions is not None
    np.testing.assert_allclose(drawn.times, times, atol=1e-7)
    assert drawn.nfe == 4, "three steps and the last prediction"
    for i, t in enumerate(times):
        np.testing.assert_allclose(
            drawn.predictions[1, i],
            denoiser(jnp.float32(t), drawn.trajectory[1, i]),
            atol=1e-5,
        )
    np.testing.assert_allclose(drawn.x, drawn.predictions[:, -1], atol=1e-6)


@pytest.mark.parametrize(
    "solver, clock, evaluations",
    [
        (ss.HeunMomentum(), "paper", 10),
        (diffrax.Dopri5(), "flow", 31),
        (diffrax.ShARK(), "paper", 10),
    ],
    ids=["heun", "dopri5", "shark"],
)
def test_evaluations_are_counted(process, key, solver, clock, evaluations):
    """What is reported is how often the denoiser really runs in five steps."""
    calls = []

    def denoiser(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        return 0.5 * x

    drawn = ss.sample(
        process,
        denoiser,
        x1=jnp.full((1, *SHAPE), 0.3),
        num_steps=5,
        solver=solver,
        noise_clock=clock,
        denoise_last=False,
        key=key,
    )
    jax.effects_barrier()
    assert drawn.nfe == len(calls) == evaluations


@pytest.mark.parametrize("solver", [diffrax.Dopri5(), ss.HeunMomentum()])
def test_adaptive_steps(x64, solver):
    """As near as asked, with as many evaluations as each sample needed, counted."""
    process = ss.vp()
    oracle = ss.oracles.GaussianOracle(jnp.asarray([0.5]), jnp.asarray([[0.3]]))
    exact = oracle.denoiser(process)
    x1 = jnp.asarray([[0.3], [-2.0], [1.0]])
    draw = lambda denoiser, x1, **options: ss.sample(
        process,
        denoiser,
        x1=x1,
        solver=solver,
        noise_clock="flow",
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
        denoise_last=False,
        key=jax.random.key(0),
        **options,
    )
    drawn = draw(exact, x1, save_trajectory=[1.0, 0.37, 0.1])
    # The flow of a Gaussian carries each quantile to itself.
    (m1, v1), (m0, v0), (m, v) = (
        oracle.marginal_moments(process, t) for t in (process.t1, process.t0, 0.37)
    )
    quantile = (x1 - m1[None]) / jnp.sqrt(v1[0, 0])
    expected = m0[None] + jnp.sqrt(v0[0, 0]) * quantile
    np.testing.assert_allclose(drawn.x, expected, atol=1e-3)
    between = m[None] + jnp.sqrt(v[0, 0]) * quantile
    np.testing.assert_allclose(drawn.times, [1.0, 0.37, 0.1, 1e-3])
    np.testing.assert_allclose(drawn.trajectory[:, 1], between, atol=1e-3)
    calls = []

    def counting(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        return exact(t, x)

    alone = draw(counting, x1[1:2])
    jax.effects_barrier()
    assert int(alone.nfe[0]) == len(calls) > 20
    assert drawn.nfe.shape == (3,)


def test_adaptive_steps_with_noise(x64, key):
    """On one path, whatever the steps: mean and variance of the data, 4000 draws.

    Standard errors: 0.0087 of the mean, 0.0067 of the variance.
    """
    process = ss.vp()
    oracle = ss.oracles.GaussianOracle(jnp.asarray([0.5]), jnp.asarray([[0.3]]))
    drawn = ss.sample(
        process,
        oracle.denoiser(process),
        x1=jax.random.normal(key, (4000, 1)),
        solver=ss.HeunMomentum(),
        stepsize_controller=diffrax.PIDController(rtol=1e-2, atol=1e-2),
        denoise_last=False,
        key=key,
    )
    assert np.mean(drawn.x) == pytest.approx(0.5, abs=0.035)
    assert np.var(drawn.x) == pytest.approx(0.3, abs=0.027)
    assert len(np.unique(drawn.nfe)) > 1


def test_states_at_chosen_times(process, prior, key):
    """They are those of the grid, and the last is always there."""
    options = dict(prior=prior, num_samples=2, num_steps=4, key=key)
    denoiser = lambda t, x: 0.5 * x
    full = ss.sample(process, denoiser, save_trajectory=True, **options)
    some = ss.sample(process, denoiser, save_trajectory=[0.75, 0.25], **options)
    np.testing.assert_allclose(some.times, [0.75, 0.25, 0.0])
    for name in ("trajectory", "predictions"):
        np.testing.assert_allclose(
            getattr(some, name), getattr(full, name)[:, [1, 3, 4]], atol=1e-6
        )


def test_a_solver_with_noise_of_its_own_draws_it_on_the_flow(process, key):
    """What it draws does not depend on the clock, which it does not ask."""

    def draw(clock):
        return ss.sample(
            process,
            lambda t, x: 0.5 * x,
            x1=jnp.full((2, *SHAPE), 0.3),
            num_steps=3,
            solver=ss.DDIM(1.0),
            noise_clock=clock,
            key=key,
        ).x

    drawn = np.asarray(draw("flow"))
    np.testing.assert_allclose(drawn, draw("paper"), atol=1e-6)
    assert not np.isclose(drawn[0], drawn[1], rtol=0, atol=1e-6).any()


def test_a_solver_that_does_not_say_its_evaluations(process, key):
    drawn = ss.sample(
        process,
        lambda t, x: 0.5 * x,
        x1=jnp.full((1, *SHAPE), 0.3),
        num_steps=2,
        solver=diffrax.HalfSolver(ss.Momentum()),
        key=key,
    )
    assert drawn.nfe is None


def test_the_network_is_traced_a_bounded_number_of_times(process, prior, key):
    """diffrax traces a step twice and checks its structure once; then the last step."""
    traces = 0

    def denoiser(t, x):
        nonlocal traces
        traces += 1
        return x

    for seed in (0, 1):
        ss.sample(
            process,
            denoiser,
            prior=prior,
            num_samples=2,
            num_steps=4,
            key=jax.random.key(seed),
        )
    assert traces <= 4


def test_mistakes_are_named(as_a_user, process, oracle, prior, key):
    denoiser = oracle.denoiser(process)
    with pytest.raises(ValueError, match="exactly one of"):
        ss.sample(process, denoiser, key=key)
    with pytest.raises(ValueError, match="num_steps=0"):
        ss.sample(process, denoiser, prior=prior, num_samples=1, num_steps=0, key=key)
    with pytest.raises(ValueError, match="num_samples=None"):
        ss.sample(process, denoiser, prior=prior, key=key)
    with pytest.raises(ValueError, match="strictly decrease"):
        ss.sample(
            process, denoiser, prior=prior, num_samples=1, times=[0.0, 1.0], key=key
        )
    with pytest.raises(ValueError, match="outside the process"):
        ss.sample(
            process, denoiser, prior=prior, num_samples=1, times=[1.5, 0.0], key=key
        )
    draw = lambda **options: ss.sample(
        process, denoiser, prior=prior, num_samples=1, num_steps=4, key=key, **options
    )
    with pytest.raises(ValueError, match="Unknown `times` 'log'"):
        draw(times="log")
    with pytest.raises(ValueError, match=r"not on its grid: \[0\.3\]"):
        draw(save_trajectory=[0.5, 0.3])
    with pytest.raises(ValueError, match="to strictly decrease"):
        draw(save_trajectory=[0.5, 0.75])
    with pytest.raises(ValueError, match="outside its grid"):
        draw(save_trajectory=[2.0])
    with pytest.raises(ValueError, match="`ShARK`, which steps 'derivative'"):
        draw(solver=diffrax.ShARK(), form="control")
    with pytest.raises(ValueError, match="`Momentum`, which steps 'control'"):
        draw(form="derivative")
    with pytest.raises(ValueError, match="adaptive steps for `Naive`"):
        steps = diffrax.PIDController(rtol=1e-2, atol=1e-2)
        draw(solver=ss.Naive(), stepsize_controller=steps)
    noisier = ss.soft_blur(SHAPE, max_blur=3.0, sigma_max=0.5)
    with pytest.raises(ValueError, match=r"whose noise is 0\.1,.*= 0\.5"):
        ss.sample(noisier, denoiser, prior=prior, num_samples=1, key=key)
