"""What a loss keeps from step to step: times by importance, trained and resumed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import assert_same_state, make_data, make_model, make_optimiser

import softsde as ss
from softsde import train

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

PROCESS = ss.ve(0.1, 3.0)
LOSS = ss.losses.SoftScoreMatching("inverse_variance")


class Shrink(eqx.Module):
    """The one parameter of x / (1 + (a sigma)^2)."""

    a: jax.Array

    def __call__(self, t, x):
        return x / (1 + (self.a * PROCESS.sigma(t)) ** 2)


def each_loss(model, batch, times, key):
    return ss.losses.batch_losses(
        LOSS, model, PROCESS, jnp.asarray(batch["x"]), key=key, times=times
    )


def loss_fn(model, batch, times, *, key):
    each = each_loss(model, batch, times, key)
    return each.mean, ({}, times.update(PROCESS, each))


def make_state():
    # Bins are ready after four steps of 8 samples.
    times = ss.losses.ImportanceTimes(2, decay=0.9)
    return train.TrainState.create(
        Shrink(jnp.asarray(0.2)), make_optimiser(), key=jax.random.key(0), carry=times
    )


def test_the_trainer_carries_the_sampler_and_resumes_it(tmp_path):
    step = train.make_train_step(loss_fn, make_optimiser())

    def fit(folder, num_steps):
        return train.fit(
            make_state(),
            make_data(),
            step,
            num_steps=num_steps,
            folder=folder,
            checkpoint_every=4,
            progress=False,
        ).state

    # By hand: each step's losses at its own key and sampler, then the update.
    state, data, samplers = make_state(), iter(make_data()), []
    for n in range(9):
        batch, times = next(data), state.carry
        key = jax.random.fold_in(state.key, n)
        each = each_loss(state.model, batch, times, key)
        samplers.append(times.update(PROCESS, each))
        state, metrics = step(state, batch)
        assert float(metrics["loss"]) == pytest.approx(float(each.mean), rel=1e-5)
        got, expected = state.carry.probabilities, samplers[-1].probabilities
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert float(jnp.ptp(state.carry.probabilities)) > 0.1, "it has learnt something"
    assert float(state.model.a) != pytest.approx(0.2, abs=1e-3), "and so has the model"

    assert_same_state(fit(tmp_path / "whole", 9), state)
    fit(tmp_path / "parts", 5)
    assert_same_state(fit(tmp_path / "parts", 9), state)


def test_a_carry_of_another_kind_is_named():
    batch = next(iter(make_data()))

    def step_with(loss):
        state = train.TrainState.create(
            make_model(),
            make_optimiser(),
            key=jax.random.key(0),
            carry={"count": jnp.zeros(3)},
        )
        return train.make_train_step(loss, make_optimiser())(state, batch)

    def total(model):
        return jnp.sum(model.weight)

    with pytest.raises(TypeError, match=r"must return `\(loss, \(metrics, carry\)\)`"):
        step_with(lambda model, batch, carry, *, key: (total(model), {}))
    with pytest.raises(ValueError, match="structure, shapes and dtypes"):
        step_with(
            lambda model, batch, carry, *, key: (
                total(model),
                ({}, {"count": carry["count"][:2]}),
            )
        )
