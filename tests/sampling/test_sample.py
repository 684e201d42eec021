"""`sample`: what it returns is what its solver draws, and draws do not know a batch."""

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_denoisers import counting, gaussian_start

import softsde as ss
from softsde.sampling._sample import _even

SHAPE = (4, 3, 1)


@pytest.mark.slow
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
        oracle.denoiser(process),
        x1=x1,
        num_steps=200,
        solver=ss.Momentum(),
        clock="sde",
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
    options = dict(solver=ss.Momentum(), clock="sde", denoise_last=False, key=key)
    drawn = ss.sample(denoiser, x1=x1, num_steps=16, **options)
    _, path_key = jax.random.split(jax.random.fold_in(key, 0))
    term = ss.reverse_sde(denoiser, shape=SHAPE, key=path_key)
    direct = diffrax.diffeqsolve(
        term, ss.Momentum(), 0.0, 1.0, 1 / 16, x1[0], adjoint=diffrax.ForwardMode()
    )
    np.testing.assert_allclose(drawn.x[0], direct.ys[0], atol=1e-5)


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("number, most", [(300, 256), (7, 2), (256, 256), (5, 100)])
def test_batches_are_even(number, most, devices):
    """The padding of a batch is less than one sample a device."""
    size = _even(number, most, devices)
    batches = math.ceil(number / size)
    assert size % devices == 0 and size < most + devices
    assert batches * size - number < batches * devices


def test_a_sample_depends_on_its_key_and_index_only(process, prior, key):

    # Not the oracle, whose few outcomes would hide a repeated draw.
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x + 0.1 * t, process)

    def draw(number, **options):
        return ss.sample(
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
        (ss.Momentum(), "sde", 5),
        pytest.param(ss.Heun(), "sde", 10, marks=pytest.mark.slow),
        (ss.Multistep(), "ode", 5),
        pytest.param(
            diffrax.HalfSolver(ss.Momentum()), "sde", 15, marks=pytest.mark.slow
        ),
        (diffrax.Dopri5(), "ode", 31),
        pytest.param(diffrax.ShARK(), "sde", 10, marks=pytest.mark.slow),
    ],
    ids=["momentum", "heun", "multistep", "half", "dopri5", "shark"],
)
def test_evaluations_are_counted(process, key, solver, clock, evaluations):
    """`nfe` is how often the denoiser really runs in five steps."""
    denoiser, calls = counting(process)
    drawn = ss.sample(
        denoiser,
        x1=jnp.full((1, *SHAPE), 0.3),
        num_steps=5,
        solver=solver,
        clock=clock,
        denoise_last=False,
        key=key,
    )
    jax.effects_barrier()
    assert drawn.nfe == len(calls) == evaluations


def test_annealed_langevin_moves_at_every_level(process, key):
    """Ten levels of ten moves are 100 evaluations, and one more for the last."""
    process = ss.ve(0.01, 1.0)
    denoiser, calls = counting(process)
    levels = ss.schedules.noise_sequence("geometric", 10, 1.0, 0.01)
    drawn = ss.sample(
        denoiser,
        x1=jnp.full((1, 3), 0.3),
        solver=ss.AnnealedLangevin(levels, 2e-5, steps=10),
        key=key,
    )
    jax.effects_barrier()
    assert drawn.nfe == len(calls) == 101
    np.testing.assert_allclose(jax.vmap(process.sigma)(drawn.times), levels, rtol=1e-5)


@pytest.mark.slow
def test_states_at_chosen_times(process, prior, key):
    """They are those of the grid, and the last is always there."""
    options = dict(prior=prior, num_samples=2, num_steps=4, key=key)
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, process)
    full = ss.sample(denoiser, save_trajectory=True, **options)
    for chosen, indices in (([0.75, 0.25], [1, 3, 4]), (3, [0, 2, 4])):
        some = ss.sample(denoiser, save_trajectory=chosen, **options)
        np.testing.assert_allclose(some.times, full.times[np.array(indices)])
        for name in ("trajectory", "predictions"):
            np.testing.assert_allclose(
                getattr(some, name), getattr(full, name)[:, indices], atol=1e-6
            )


def test_a_solver_with_noise_of_its_own_draws_it_without_a_clock(process, key):
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, process)
    drawn = ss.sample(
        denoiser,
        x1=jnp.full((2, *SHAPE), 0.3),
        num_steps=3,
        solver=ss.DDIM(eta=1.0),
        key=key,
    )
    assert not np.isclose(drawn.x[0], drawn.x[1], rtol=0, atol=1e-6).any()


def test_each_sample_gets_its_own_condition(process, key):
    """Mixed labels in one call, and in batches, are the draws of each label alone."""
    oracle = ss.oracles.MixtureOracle(
        [0.5, 0.5], [[-1.0, 0.0], [1.0, 0.5]], [0.01 * np.eye(2)] * 2
    )
    denoiser = oracle.denoiser(ss.ve(0.01, 5.0))
    x1 = 5 * jax.random.normal(key, (6, 2))
    labels = jnp.asarray([0, 1, 1, 0, -1, 1])
    draw = lambda condition, **options: (
        ss.sample(
            denoiser, x1=x1, num_steps=30, condition=condition, key=key, **options
        ).x
    )
    mixed = draw(labels)
    np.testing.assert_allclose(draw(labels, batch_size=4), mixed, atol=1e-5)
    for label in (0, 1):
        alone = draw(label)
        np.testing.assert_allclose(
            alone[labels == label], mixed[labels == label], atol=1e-5
        )
        assert np.abs(alone - oracle.means[label][None]).max() < 0.5
    np.testing.assert_allclose(draw(None)[4], mixed[4], atol=1e-5)


@pytest.mark.parametrize("times", [1000, 4000])
@pytest.mark.slow
def test_many_steps_in_single_precision(times, key):
    """1000 and 4000 steps on every clock: the spread of the data within 2 %."""
    for process in (ss.ve(0.01, 348.0), ss.edm(), ss.vp()):
        denoiser, x1, expected = gaussian_start(process, 0.25, 2000, (16,))
        for clock in ("sde", ss.clocks.Churn(20.0)):
            drawn = ss.sample(
                denoiser,
                x1=x1,
                num_steps=times,
                solver=ss.Multistep(),
                clock=clock,
                denoise_last=False,
                key=key,
            )
            spread = float(np.sqrt(np.mean(np.asarray(drawn.x) ** 2)))
            assert spread == pytest.approx(expected, rel=0.02)


def test_mistakes_are_named(as_a_user, process, oracle, prior, key):
    denoiser = oracle.denoiser(process)
    sample = lambda **options: ss.sample(denoiser, key=key, **options)
    with pytest.raises(TypeError, match=r"FunctionDenoiser\(fn, process\)"):
        ss.sample(lambda t, x: x, prior=prior, num_samples=1, key=key)
    with pytest.raises(ValueError, match="exactly one of"):
        sample()
    with pytest.raises(ValueError, match="num_steps=0"):
        sample(prior=prior, num_samples=1, num_steps=0)
    with pytest.raises(ValueError, match="num_samples=None"):
        sample(prior=prior)
    with pytest.raises(ValueError, match="strictly decrease"):
        sample(prior=prior, num_samples=1, times=[0.0, 1.0])
    with pytest.raises(ValueError, match="outside the process"):
        sample(prior=prior, num_samples=1, times=[1.5, 0.0])
    draw = lambda **options: sample(
        prior=prior, num_samples=1, **({"num_steps": 4} | options)
    )
    with pytest.raises(ValueError, match="Unknown `times` 'log'"):
        draw(times="log")
    with pytest.raises(ValueError, match=r"not on its grid: \[0\.3\]"):
        draw(save_trajectory=[0.5, 0.3])
    with pytest.raises(ValueError, match="to strictly decrease"):
        draw(save_trajectory=[0.5, 0.75])
    with pytest.raises(ValueError, match="outside its grid"):
        draw(save_trajectory=[2.0])
    with pytest.raises(ValueError, match="at least 2"):
        draw(save_trajectory=1)
    with pytest.raises(ValueError, match="at least 1"):
        draw(batch_size=0)
    with pytest.raises(ValueError, match="Unknown clock 'paper'"):
        draw(clock="paper")
    for solver in (ss.DDIM(), ss.Naive(), ss.EDMHeun()):
        with pytest.raises(ValueError, match="would ignore the clock `Sde`"):
            draw(solver=solver, clock="sde")
    steps = diffrax.PIDController(rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="adaptive steps for `Naive`"):
        draw(solver=ss.Naive(), times=steps)
    with pytest.raises(ValueError, match="`Momentum`, which does not estimate"):
        draw(solver=ss.Momentum(), times=steps)
    with pytest.raises(ValueError, match=r"a condition of shape \(3,\) for 1 samples"):
        draw(condition=jnp.arange(3))
    jumps = ss.processes.hard_mask(SHAPE)
    with pytest.raises(ValueError, match="`CenterMask` jumps"):
        ss.sample(
            oracle.denoiser(jumps),
            x1=jnp.zeros((1, *SHAPE)),
            solver=diffrax.Dopri5(),
            key=key,
        )


def test_a_prior_of_another_process_or_time_is_refused(as_a_user, data, key):
    """Also one whose noise is the same."""
    process = ss.soft_blur(SHAPE, max_blur=3.0)
    other = ss.soft_blur(SHAPE, max_blur=0.8)
    denoiser = ss.oracles.EmpiricalOracle(data).denoiser(process)
    for kind in (ss.GaussianPrior, ss.EmpiricalPrior):
        with pytest.raises(ValueError, match="of another process than the denoiser"):
            prior = kind.fit(other, data)
            ss.sample(denoiser, prior=prior, num_samples=1, num_steps=4, key=key)
        prior = kind.fit(process, data)
        middle = np.linspace(0.6, 0.0, 5)
        with pytest.raises(ValueError, match=r"starts at time 0\.6.* time 1\.0"):
            ss.sample(denoiser, prior=prior, num_samples=1, times=middle, key=key)
        there = kind.fit(process, data, time=0.6)
        ss.sample(denoiser, prior=there, num_samples=1, times=middle, key=key)


def test_karras_times_in_single_precision(key):
    """4000 of them on a cosine process, whose noise is flat at its end."""
    process = ss.cosine_vp()
    times = ss.karras_times(process, 4000)
    assert np.all(np.diff(times) < 0) and np.all(np.diff(np.float32(times)) < 0)
    with pytest.raises(ValueError, match="float32 cannot tell apart"):
        close = [1.0, 0.5, 0.5 - 1e-9, 0.0]
        denoiser = ss.FunctionDenoiser(lambda t, x: x, ss.ve())
        ss.sample(denoiser, x1=jnp.ones((1, 2)), times=close, key=key)
