"""What a loss keeps from step to step is carried on, saved and resumed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import assert_same_state, make_data, make_model, make_optimiser

from softsde import train

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


class Scales(eqx.Module):
    """A running mean of the squared error of each output, by which it is divided."""

    mean: jax.Array
    count: jax.Array

    def update(self, error):
        mean = 0.9 * self.mean + 0.1 * jnp.mean(error**2, axis=0)
        return Scales(mean, self.count + 1)


def loss_fn(model, batch, scales, *, key):
    x = batch["x"] + 0.1 * jax.random.uniform(key, batch["x"].shape, batch["x"].dtype)
    error = model(x) - batch["y"]
    return jnp.mean(error**2 / scales.mean[None]), ({}, scales.update(error))


def make_state():
    scales = Scales(jnp.ones(2), jnp.array(0))
    return train.TrainState.create(
        make_model(), make_optimiser(), key=jax.random.key(0), carry=scales
    )


@pytest.mark.slow
def test_the_trainer_carries_what_the_loss_returns_and_resumes_it(tmp_path):
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

    # By hand: the loss at each step's own key and carry.
    state, data = make_state(), iter(make_data())
    for n in range(9):
        batch = next(data)
        key = jax.random.fold_in(state.key, n)
        loss, (_, expected) = loss_fn(state.model, batch, state.carry, key=key)
        state, metrics = step(state, batch)
        assert float(metrics["loss"]) == pytest.approx(float(loss), rel=1e-5)
        np.testing.assert_allclose(state.carry.mean, expected.mean, rtol=1e-5)
    assert int(state.carry.count) == 9
    assert float(jnp.max(jnp.abs(state.carry.mean - 1.0))) > 0.1

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
    for wrong in (
        lambda carry: {"count": carry["count"][:2]},
        lambda carry: {"count": carry["count"].astype(jnp.int32)},
        lambda carry: {"counts": carry["count"]},
    ):
        with pytest.raises(ValueError, match="structure, shapes and dtypes"):
            step_with(
                lambda model, batch, carry, *, key, wrong=wrong: (
                    total(model),
                    ({}, wrong(carry)),
                )
            )
