"""Power-function averages: their closed form, and others reconstructed from them."""

import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import (
    assert_same_state,
    loss_fn,
    make_data,
    make_model,
    make_optimiser,
)
from scipy import integrate

from softsde import train
from softsde.train._state import update_profiles

LENGTHS = (0.05, 0.1)


def _weights(length, n):
    """The share of each of `n` steps, if the profile is integrated over each step."""
    power = train.power_exponent(length) + 1
    edges = (np.arange(n + 1) / n) ** power
    return np.diff(edges)


def _follow(trajectory, lengths=LENGTHS, dtype=jnp.float64):
    """The averages after each step of a trajectory of the parameters."""
    profiles = {repr(s): jnp.zeros(trajectory.shape[1:], dtype) for s in lengths}

    def one(profiles, pair):
        step, parameters = pair
        profiles = update_profiles(profiles, parameters.astype(dtype), step)
        return profiles, profiles

    steps = jnp.arange(len(trajectory), dtype=jnp.int32)
    return jax.lax.scan(one, profiles, (steps, jnp.asarray(trajectory)))[1]


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1, 0.2, 0.28])
def test_an_exponent_has_its_length(length):
    """Mean and variance of the profile by quadrature."""
    gamma = train.power_exponent(length)
    moment = lambda k: integrate.quad(
        lambda tau: (gamma + 1) * tau ** (gamma + k), 0, 1, epsabs=1e-14
    )[0]
    assert moment(0) == pytest.approx(1, abs=1e-9)
    assert np.sqrt(moment(2) - moment(1) ** 2) == pytest.approx(length, rel=1e-7)


def test_the_published_exponents():
    """Karras et al. (2024) keep 16.97 and 6.94."""
    assert train.power_exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert train.power_exponent(0.10) == pytest.approx(6.94, abs=0.005)


def test_a_polynomial_has_its_closed_form(x64):
    """The average of `tau**k` is `(gamma + 1) / (gamma + 1 + k) t**k`.

    Parameters stand still within a step, so the average over steps lies between those
    of `tau**k` and of `(tau + 1)**k`.
    """
    n = 500
    tau = np.arange(1, n + 1, dtype=np.float64)
    trajectory = np.stack([tau**0, tau, tau**2, tau**3], axis=1)
    found = _follow(trajectory)
    for length in LENGTHS:
        power = train.power_exponent(length) + 1
        mean = [power / (power + k) * float(n) ** k for k in range(4)]
        above = [
            mean[0],
            mean[1] + mean[0],
            mean[2] + 2 * mean[1] + mean[0],
            mean[3] + 3 * mean[2] + 3 * mean[1] + mean[0],
        ]
        average = np.asarray(found[repr(length)][-1])
        assert average[0] == pytest.approx(1, rel=1e-12)
        assert np.all(average[1:] > mean[1:]) and np.all(average[1:] < above[1:])
        np.testing.assert_allclose(
            average, _weights(length, n) @ trajectory, rtol=1e-11
        )


def test_float32_over_a_long_run():
    """The float32 average of 20,000 steps agrees with the closed form.

    Each update is rounded by up to 6e-8, and an average remembers about a thousand.
    """
    n = 20_000
    tau = np.arange(1, n + 1) / n
    trajectory = np.stack([tau, tau**2, np.sin(5 * tau)], axis=1)
    found = _follow(trajectory.astype(np.float32), dtype=jnp.float32)
    for length in LENGTHS:
        assert found[repr(length)].dtype == np.float32
        expected = _weights(length, n) @ trajectory
        np.testing.assert_allclose(found[repr(length)][-1], expected, rtol=5e-5)


def test_the_train_step_keeps_them(x64):
    """Gradient descent on a plane: parameters move by equal steps."""
    model = jnp.asarray([1.0, -2.0])
    slope = np.asarray([0.5, 3.0])
    loss = lambda model, batch, *, key: (jnp.sum(model * slope), {})
    optimiser = optax.sgd(0.1)
    state = train.TrainState.create(
        model, optimiser, sigma_rel=LENGTHS, key=jax.random.key(0)
    )
    step = train.make_train_step(loss, optimiser)
    n = 60
    for _ in range(n):
        state, _ = step(state, jnp.zeros(2))
    path = np.asarray(model) - 0.1 * slope * np.arange(1, n + 1)[:, None]
    np.testing.assert_allclose(state.model, path[-1], rtol=1e-12)
    for length in LENGTHS:
        expected = _weights(length, n) @ path
        np.testing.assert_allclose(state.profiles[repr(length)], expected, rtol=1e-12)


def test_bfloat16_weights_have_float32_averages():
    model = make_model(jnp.bfloat16)
    optimiser = make_optimiser()
    state = train.TrainState.create(
        model, optimiser, sigma_rel=(0.1,), key=jax.random.key(0)
    )
    step = train.make_train_step(loss_fn, optimiser)
    batch = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.bfloat16), next(iter(make_data()))
    )
    state, _ = step(state, batch)
    assert state.profiles["0.1"].weight.dtype == np.float32
    # The first update is the model itself.
    np.testing.assert_allclose(
        state.profiles["0.1"].weight,
        state.model.weight.astype(jnp.float32),
        rtol=1e-6,
    )


def _brute_coefficients(steps, lengths, step, length, points=40_000):
    """Least squares on profiles that are written out on a grid of times.

    The last coefficient is 1 less the others, so that the sum is 1.
    """
    times = (np.arange(points) + 0.5) / points * max(*steps, step)

    def profile(end, sigma):
        gamma = train.power_exponent(sigma)
        return np.where(times < end, (gamma + 1) * (times / end) ** gamma / end, 0.0)

    columns = np.stack([profile(*pair) for pair in zip(steps, lengths, strict=True)], 1)
    last = columns[:, -1:]
    wanted = profile(step, length)
    solved = np.linalg.lstsq(columns[:, :-1] - last, wanted - last[:, 0])[0]
    return np.append(solved, 1 - solved.sum()), columns, wanted


def test_coefficients_are_the_least_squares_of_the_profiles():
    steps = np.repeat([300, 600, 900, 1200], 2).tolist()
    lengths = list(LENGTHS) * 4
    for step, length in ((1200, 0.15), (1000, 0.08), (1200, 0.06)):
        expected, columns, wanted = _brute_coefficients(steps, lengths, step, length)
        found = train.posthoc_coefficients(steps, lengths, step=step, length=length)
        assert found.sum() == pytest.approx(1, rel=1e-9)
        # Neighbours are alike, so compare what the coefficients make.
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(
            columns @ found, columns @ expected, atol=2e-3 * scale
        )
        errors = [np.sum((columns @ x - wanted) ** 2) for x in (found, expected)]
        assert errors[0] <= errors[1] * (1 + 1e-3)


def test_a_stored_average_is_reconstructed_as_it_is():
    steps = np.repeat(np.arange(100, 1001, 100), 2).tolist()
    lengths = list(LENGTHS) * 10
    for i in (0, 7, 19):
        found = train.posthoc_coefficients(
            steps, lengths, step=steps[i], length=lengths[i]
        )
        np.testing.assert_allclose(found, np.eye(20)[i], atol=1e-6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A wandering trajectory of 2,000 steps, with forty snapshots."""
    n = 2000
    random = np.random.default_rng(5)
    tau = np.arange(1, n + 1)[:, None] / n
    trajectory = np.exp(-3 * tau) * [1.0, 2.0, -1.0] + np.sin(tau * [3.0, 9.0, 17.0])
    trajectory += 0.3 * np.cumsum(random.normal(size=(n, 3)), axis=0) / np.sqrt(n)
    folder = tmp_path_factory.mktemp("run") / "snapshots"
    snapshots = train.Snapshots(folder)
    with jax.enable_x64(True):
        found = _follow(trajectory)
        for step in range(50, n + 1, 50):
            profiles = {
                name: {"w": jnp.asarray(a[step - 1]), "steps": 3}
                for name, a in found.items()
            }
            state = train.TrainState(
                None, None, None, jnp.asarray(step), jax.random.key(0), None, profiles
            )
            snapshots(state, step)
    return snapshots, trajectory


@pytest.mark.parametrize("step", [2000, 1650])
@pytest.mark.parametrize("length", [0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25])
def test_other_lengths_are_reconstructed(run, x64, step, length):
    """Against the average that was kept all the time, over the spread of the run."""
    snapshots, trajectory = run
    direct = _weights(length, step) @ trajectory[:step]
    like = {"w": jnp.zeros(3), "steps": 3}
    found = snapshots.reconstruct(like, length, step=step)
    assert found["steps"] == 3
    stored = length in LENGTHS and step % 50 == 0
    tolerance = 1e-6 if stored else 0.01
    np.testing.assert_allclose(
        found["w"], direct, atol=tolerance * trajectory[:step].std()
    )


def test_snapshots_are_found_and_checked(run, tmp_path):
    snapshots, _ = run
    assert snapshots.steps() == list(range(50, 2001, 50))
    like = {"w": jnp.zeros(3), "steps": 3}
    with pytest.raises(ValueError, match=r"`step=49` has no snapshot\. .* 50, 100"):
        snapshots.reconstruct(like, 0.1, step=49)
    with pytest.raises(ValueError, match=r"a number between 0 and 0\.2887"):
        snapshots.reconstruct(like, 0.3)
    with pytest.raises(ValueError, match=r"another model than `like`: .*\['w'\]"):
        snapshots.reconstruct({"w": jnp.zeros(4), "steps": 3}, 0.1)
    with pytest.raises(ValueError, match=r"\['other'\], \['w'\]"):
        snapshots.reconstruct({"other": jnp.zeros(3)}, 0.1)
    empty = train.Snapshots(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="There is no snapshot in"):
        empty.reconstruct(like, 0.1)
    (tmp_path / "step_000000010.safetensors").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"step_000000010\.safetensors is damaged"):
        train.Snapshots(tmp_path).reconstruct(like, 0.1)


def test_bad_lengths_are_refused():
    create = lambda lengths: train.TrainState.create(
        make_model(), make_optimiser(), sigma_rel=lengths, key=jax.random.key(0)
    )
    for wrong in (0.0, -0.1, 0.2887, float("nan")):
        with pytest.raises(ValueError, match=r"between 0 and 0\.2887"):
            create((wrong,))
    with pytest.raises(ValueError, match="a length twice"):
        create((0.1, 0.1))
    with pytest.raises(ValueError, match="one positive number of steps and one length"):
        train.posthoc_coefficients([10, 0], [0.1, 0.1], step=10, length=0.1)
    with pytest.raises(ValueError, match=r"TrainState\.create\(\.\.\., sigma_rel"):
        train.Snapshots("unused")(create(()), 1)


def _fit(folder, num_steps, callbacks=(), lengths=LENGTHS):
    optimiser = make_optimiser()
    state = train.TrainState.create(
        make_model(), optimiser, sigma_rel=lengths, key=jax.random.key(0)
    )
    return train.fit(
        state,
        make_data(),
        train.make_train_step(loss_fn, optimiser),
        num_steps=num_steps,
        folder=folder,
        checkpoint_every=8,
        log_every=5,
        callbacks=[(4, train.Snapshots(folder / "snapshots")), *callbacks],
        progress=False,
    )


@pytest.mark.slow
def test_both_averages_survive_an_interruption(tmp_path):
    """Stopped after 13 of 24 steps: state and snapshots end equal to the last bit."""
    whole = _fit(tmp_path / "whole", 24)

    def stop(state, n):
        if n == 13:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(train.Interrupted):
        _fit(tmp_path / "cut", 24, [(13, stop)])
    resumed = _fit(tmp_path / "cut", 24)
    assert_same_state(whole.state, resumed.state)
    kept = [tmp_path / name / "snapshots" for name in ("whole", "cut")]
    for first, second in zip(*(sorted(k.iterdir()) for k in kept), strict=True):
        assert first.read_bytes() == second.read_bytes()
    # The averages differ, so the test could tell.
    weights = [whole.state.ema, *whole.state.profiles.values()]
    first, second, third = (np.asarray(m.weight) for m in weights)
    assert not np.allclose(first, second) and not np.allclose(second, third)
    # What is kept at the end is what the snapshots give.
    found = train.Snapshots(kept[0]).reconstruct(whole.state.ema, 0.1)
    expected = whole.state.profiles["0.1"]
    assert eqx.tree_equal(found, expected, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_other_lengths_is_refused(tmp_path):
    _fit(tmp_path, 8)
    with pytest.raises(ValueError, match=r"\.profiles\['0\.05'\]"):
        _fit(tmp_path, 16, lengths=(0.06, 0.1))
