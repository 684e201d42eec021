"""A loss on batches, as the train step calls it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import softsde as ss
from softsde.losses import batch_loss, batch_losses, on_batches

# See `tests/train/test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

LOSS = ss.losses.CleanPrediction()


class Affine(eqx.Module):
    """A network with a bias for each of four labels; the fifth, -1, is for none."""

    factor: jax.Array
    bias: jax.Array

    def __call__(self, t, x, condition=None, *, key=None):
        label = -1 if condition is None else condition
        return self.factor * x + self.bias[label]


@pytest.fixture
def denoiser(x64):
    network = Affine(jnp.array([0.3, 0.7]), jnp.arange(10.0).reshape(5, 2))
    return ss.Denoiser(network, ss.ve(0.1, 2.0), ss.parametrisations.Clean())


@pytest.fixture
def batch(x64):
    rng = np.random.default_rng(0)
    return {"image": rng.normal(size=(6, 2)), "label": np.array([0, 1, 2, 3, 0, 1])}


def test_it_is_the_loss_of_the_batch(denoiser, batch, key):
    got, metrics = on_batches(LOSS)(denoiser, batch, key=key)
    assert float(got) == float(batch_loss(LOSS, denoiser, batch["image"], key=key))
    assert metrics == {}
    loss_fn = on_batches(
        LOSS, times="uniform", drop_condition=0.4, image="x", condition="y"
    )
    renamed = {"x": batch["image"], "y": batch["label"]}
    expected = batch_loss(
        LOSS,
        denoiser,
        batch["image"],
        batch["label"],
        times="uniform",
        drop_condition=0.4,
        key=key,
    )
    assert float(loss_fn(denoiser, renamed, key=key)[0]) == float(expected)


def test_a_train_step_takes_it(denoiser, batch, key):
    """One step of gradient descent is the gradient in the weights, and nothing else."""
    optimiser = optax.sgd(0.1)
    state = ss.train.TrainState.create(denoiser, optimiser, key=key)
    loss_fn = on_batches(LOSS, condition="label")
    state, metrics = ss.train.make_train_step(loss_fn, optimiser)(state, batch)
    step_key = jax.random.fold_in(key, 0)

    def loss(network):
        trained = ss.Denoiser(network, denoiser.process, denoiser.parametrisation)
        return batch_loss(LOSS, trained, batch["image"], batch["label"], key=step_key)

    value, gradient = eqx.filter_value_and_grad(loss)(denoiser.network)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-12)
    for name in ("factor", "bias"):
        expected = getattr(denoiser.network, name) - 0.1 * getattr(gradient, name)
        np.testing.assert_allclose(
            getattr(state.model.network, name), expected, rtol=1e-10
        )
    assert state.model.process == denoiser.process


@pytest.mark.slow
def test_importance_times_are_carried(denoiser, batch, key):
    """Four steps of the train step, and the same by hand."""
    optimiser = optax.sgd(0.0)
    times = ss.losses.ImportanceTimes(2, decay=0.5)
    loss_fn = on_batches(LOSS, times=times)
    state = ss.train.TrainState.create(denoiser, optimiser, key=key, carry=times)
    step = ss.train.make_train_step(loss_fn, optimiser)
    for n in range(4):
        state, metrics = step(state, batch)
        each = batch_losses(
            LOSS,
            denoiser,
            batch["image"],
            times=times,
            key=jax.random.fold_in(key, n),
        )
        times = times.update(denoiser.process, each)
        assert float(metrics["loss"]) == pytest.approx(float(each.mean), rel=1e-12)
    np.testing.assert_allclose(state.carry.squares, times.squares, rtol=1e-12)
    np.testing.assert_allclose(state.carry.weights, times.weights, rtol=1e-12)
    assert abs(float(times.probabilities[0]) - 0.5) > 0.01, "it has learnt something"


def test_mistakes_are_named(as_a_user, denoiser, batch, key):
    with pytest.raises(KeyError, match=r"no 'images'.*\['image', 'label'\].*`image=`"):
        on_batches(LOSS, image="images")(denoiser, batch, key=key)
    with pytest.raises(KeyError, match=r"no 'class'.*`condition=`"):
        on_batches(LOSS, condition="class")(denoiser, batch, key=key)
    with pytest.raises(TypeError, match="ndarray; expected a dictionary"):
        on_batches(LOSS)(denoiser, batch["image"], key=key)
    with pytest.raises(ValueError, match="`condition='label'`"):
        on_batches(LOSS, drop_condition=0.1)
    with pytest.raises(ValueError, match=r"`drop_condition=2\.0`"):
        on_batches(LOSS, drop_condition=2.0, condition="label")
    with pytest.raises(ValueError, match="Unknown `times` 'sobol'"):
        on_batches(LOSS, times="sobol")  # pyright: ignore
    with pytest.raises(ValueError, match=r"no `carry`.*carry=times"):
        loss_fn = on_batches(LOSS, times=ss.losses.ImportanceTimes())
        loss_fn(denoiser, batch, key=key)


def test_bytes_are_scaled_on_the_device(key):
    network = Affine(jnp.array([0.3, 0.7]), jnp.arange(10.0).reshape(5, 2))
    denoiser = ss.Denoiser(network, ss.ve(0.1, 2.0), ss.parametrisations.Clean())
    pixels = np.random.default_rng(1).integers(0, 256, (6, 2), np.uint8)
    got, _ = on_batches(LOSS)(denoiser, {"image": pixels}, key=key)
    floats = pixels.astype(np.float32) / np.float32(255)
    expected = batch_loss(LOSS, denoiser, floats, key=key)
    assert float(got) == pytest.approx(float(expected), rel=1e-6)


def test_the_loss_in_parts_of_the_time(denoiser, key):
    """The mean over the samples whose times lie there; the parts make up the whole."""
    images = np.random.default_rng(1).normal(size=(40, 2))
    loss_fn = on_batches(LOSS, time_bins=4)
    mean, metrics = loss_fn(denoiser, {"image": images}, key=key)
    each = batch_losses(LOSS, denoiser, images, key=key)
    times, losses = np.asarray(each.times), np.asarray(each.losses)
    assert len(metrics) == 4
    counts = []
    for i in range(4):
        inside = (times >= i / 4) & (times < (i + 1) / 4)
        counts.append(inside.sum())
        expected = losses[inside].mean()
        assert float(metrics[f"loss_{i}"]) == pytest.approx(expected, rel=1e-10)
    whole = sum(n * float(metrics[f"loss_{i}"]) for i, n in enumerate(counts)) / 40
    assert whole == pytest.approx(float(mean), rel=1e-10)


def test_a_part_of_the_time_without_samples_counts_as_zero(denoiser, key):
    _, metrics = on_batches(LOSS, time_bins=50)(
        denoiser, {"image": np.ones((2, 2))}, key=key
    )
    values = [float(value) for value in metrics.values()]
    assert sum(value != 0 for value in values) <= 2


def test_wrong_number_of_parts():
    with pytest.raises(ValueError, match="`time_bins` must be at least 0, got -1"):
        on_batches(LOSS, time_bins=-1)
