"""A linear regression that trains in no time, for the tests of the trainer."""

import functools
import pathlib

import equinox as eqx
import grain
import jax
import jax.numpy as jnp
import numpy as np

from softsde import train

_draw = np.random.default_rng(0)
INPUTS = _draw.normal(size=(64, 5))
OUTPUTS = INPUTS @ _draw.normal(size=(5, 2)) + 1.0


class Linear(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return x @ self.weight + self.bias[None]


def make_model(dtype=np.float32) -> Linear:
    weight = np.linspace(-1, 1, 10).reshape(5, 2)
    return Linear(jnp.asarray(weight, dtype), jnp.zeros(2, dtype))


# By default grain reads 500 batches ahead.
LAZY = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def make_data(batch_size: int = 8, dtype=np.float32) -> grain.IterDataset:
    return (
        grain.MapDataset.range(len(INPUTS))
        .seed(7)
        .shuffle()
        .repeat()
        .map(lambda i: {"x": INPUTS[i].astype(dtype), "y": OUTPUTS[i].astype(dtype)})
        .batch(batch_size)
        .to_iter_dataset(LAZY)
    )


def loss_fn(model, batch, *, key):
    """With noise on the inputs, so that the keys matter."""
    x = batch["x"] + 0.1 * jax.random.uniform(key, batch["x"].shape, batch["x"].dtype)
    error = model(x) - batch["y"]
    return jnp.mean(error**2), {"largest": jnp.max(jnp.abs(error))}


def make_optimiser():
    return train.make_optimiser(0.03, warmup_steps=5)


def make_state(seed: int = 0, model=None) -> train.TrainState:
    model = make_model() if model is None else model
    return train.TrainState.create(model, make_optimiser(), key=jax.random.key(seed))


def make_step(mesh=None, loss=loss_fn):
    return train.make_train_step(loss, make_optimiser(), mesh=mesh)


@functools.cache
def shared_step(num_devices: int | None = None):
    """The step that most tests use, compiled once for all of them."""
    return make_step(None if num_devices is None else train.make_mesh(num_devices))


def leaves(state: train.TrainState) -> list[np.ndarray]:
    """All numbers of a state, on the host."""
    state = eqx.tree_at(lambda s: s.key, state, jax.random.key_data(state.key))
    return [np.asarray(x) for x in jax.tree.leaves(eqx.filter(state, eqx.is_array))]


def assert_same_state(left: train.TrainState, right: train.TrainState) -> None:
    """Equal to the last bit."""
    for a, b in zip(leaves(left), leaves(right), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def run_to_the_end(folder: str, num_steps: int, pause: float) -> None:
    """Runs to the end, and resumes by itself: the tests kill it in another process.

    Writes all numbers of the last state to `final.bin`.
    """
    import time

    mesh = train.make_mesh()
    result = train.fit(
        make_state(),
        make_data(),
        make_step(mesh),
        num_steps=num_steps,
        folder=folder,
        config={"width": 2},
        checkpoint_every=7,
        log_every=5,
        callbacks=[(1, lambda state, n: time.sleep(pause))],
        progress=False,
    )
    content = b"".join(x.tobytes() for x in leaves(result.state))
    pathlib.Path(folder, "final.bin").write_bytes(content)


def fit(folder, num_steps, *, state=None, data=None, step=None, **options):
    options = {"checkpoint_every": 4, "log_every": 3, "progress": False} | options
    return train.fit(
        make_state() if state is None else state,
        make_data() if data is None else data,
        shared_step() if step is None else step,
        num_steps=num_steps,
        folder=folder,
        **options,
    )


def by_hand(num_steps):
    """The state and the metrics of each step, with no loop of the library."""
    state, data, history = make_state(), iter(make_data()), []
    for _ in range(num_steps):
        state, metrics = shared_step()(state, next(data))
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history


def steps_in(folder):
    with train.Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.all_steps()
