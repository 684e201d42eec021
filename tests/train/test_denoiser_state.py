"""A denoiser is trained as a whole, and its process stays as it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import assert_same_state, make_data

import softsde as ss
from softsde import train

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

# Decay moves every array that the optimiser sees, whatever its gradient.
OPTIMISER = optax.adamw(1e-2, weight_decay=0.5)


class Network(eqx.Module):
    linear: eqx.nn.Linear

    def __call__(self, t, x, condition=None, *, key=None):
        return self.linear(x)


def make_denoiser(train_process=False):
    network = Network(eqx.nn.Linear(5, 5, key=jax.random.key(4)))
    # Arrays, because a Python number is a constant under any optimiser.
    noise = ss.schedules.Geometric(jnp.asarray(0.1), jnp.asarray(3.0))
    process = ss.Process(
        ss.corruptions.Identity(), ss.schedules.Constant(jnp.asarray(0.0)), noise
    )
    return ss.Denoiser(
        network, process, ss.parametrisations.Clean(), train_process=train_process
    )


def loss_fn(denoiser, batch, *, key):
    """The squared error of the posterior mean at one noise level."""
    process = denoiser.process
    x0 = jnp.asarray(batch["x"])
    t = jnp.asarray(0.6, x0.dtype)
    noise = jax.random.normal(key, x0.shape, x0.dtype)
    noisy = x0 + process.sigma(t) * noise
    clean = jax.vmap(lambda x: denoiser(t, x))(noisy)
    return jnp.mean((clean - x0) ** 2), {}


def make_state(denoiser):
    return train.TrainState.create(denoiser, OPTIMISER, key=jax.random.key(0))


def trained(denoiser, num_steps=5, mesh=None):
    step = train.make_train_step(loss_fn, OPTIMISER, mesh=mesh)
    state, data = make_state(denoiser), iter(make_data())
    for _ in range(num_steps):
        state, _ = step(state, next(data))
    return state


def moved(network, other) -> float:
    return np.abs(np.asarray(network.linear.weight - other.linear.weight)).max()


@pytest.mark.parametrize("num_devices", [None, 2])
def test_the_network_is_trained_and_the_process_is_not(num_devices):
    mesh = None if num_devices is None else train.make_mesh(num_devices)
    before = make_denoiser()
    state = trained(make_denoiser(), mesh=mesh)
    for after in (state.model, state.ema):
        one_device = jax.tree.map(jnp.asarray, jax.device_get(after))
        assert eqx.tree_equal(one_device.process, before.process)
        assert moved(after.network, before.network) > 1e-2


def test_a_plain_loop_of_equinox_trains_the_same():
    """A user writes this who does not know that there is a process inside."""
    before = denoiser = make_denoiser()
    opt_state = OPTIMISER.init(eqx.filter(denoiser, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(denoiser, opt_state, batch, key):
        gradient = eqx.filter_grad(lambda d: loss_fn(d, batch, key=key)[0])(denoiser)
        updates, opt_state = OPTIMISER.update(
            gradient, opt_state, eqx.filter(denoiser, eqx.is_inexact_array)
        )
        return eqx.apply_updates(denoiser, updates), opt_state

    data = iter(make_data())
    with jax.numpy_dtype_promotion("standard"):
        for n in range(5):
            key = jax.random.fold_in(jax.random.key(0), n)
            denoiser, opt_state = step(denoiser, opt_state, next(data), key)
    assert eqx.tree_equal(denoiser.process, before.process)
    weight = denoiser.network.linear.weight
    assert moved(denoiser.network, before.network) > 1e-2
    expected = trained(make_denoiser()).model.network.linear.weight
    np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)


def test_a_process_that_is_to_be_trained_is():
    before = make_denoiser(train_process=True)
    after = trained(make_denoiser(train_process=True)).model
    t = jnp.asarray(0.6)
    assert abs(float(after.process.sigma(t)) - float(before.process.sigma(t))) > 1e-3
    assert moved(after.network, before.network) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("double", [False, True])
def test_a_denoiser_is_saved_and_resumed(tmp_path, double):
    """Its bit patterns too, of 64 bits where x64 is on."""
    with jax.enable_x64(double):
        dtype = np.float64 if double else np.float32
        step = train.make_train_step(loss_fn, OPTIMISER)

        def fit(folder, num_steps):
            state = make_state(make_denoiser())
            return train.fit(
                state,
                make_data(dtype=dtype),
                step,
                num_steps=num_steps,
                folder=folder,
                progress=False,
            ).state

        whole = fit(tmp_path / "whole", 6)
        fit(tmp_path / "parts", 2)
        parts = fit(tmp_path / "parts", 6)
        assert_same_state(parts, whole)
        assert eqx.tree_equal(parts.model.process, make_denoiser().process)
