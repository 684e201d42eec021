"""States split over a mesh, against the same steps on one device.

Two host devices here; `test_eight_devices.py` has all the meshes of eight.
"""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from regression import (
    loss_fn,
    make_data,
    make_model,
    make_optimiser,
    make_state,
    make_step,
)

from softsde import train


class Network(eqx.Module):
    """Two matrices that are worth splitting, and a bias that is not."""

    first: jax.Array
    bias: jax.Array
    second: jax.Array

    def __init__(self, width: int, key: jax.Array):
        one, two = jax.random.split(key)
        self.first = 0.3 * jax.random.normal(one, (5, width), jnp.float32)
        self.bias = jnp.zeros(width, jnp.float32)
        self.second = 0.1 * jax.random.normal(two, (width, 2), jnp.float32)

    def __call__(self, x):
        return jnp.tanh(x @ self.first + self.bias[None]) @ self.second


WIDTH = 640


def init(mesh=None, **options):
    return train.init_state(
        lambda key: Network(WIDTH, key),
        make_optimiser(),
        key=jax.random.key(3),
        mesh=mesh,
        **options,
    )


def run(mesh, steps=20, **options):
    step = train.make_train_step(loss_fn, make_optimiser(), mesh=mesh, **options)
    state, data, losses = init(mesh), iter(make_data()), []
    for _ in range(steps):
        state, metrics = step(state, next(data))
        losses.append(float(metrics["loss"]))
    return state, np.array(losses)


@pytest.fixture(scope="module")
def alone():
    return run(None)


def numbers(state):
    arrays = eqx.filter((state.model, state.ema, state.opt_state), eqx.is_array)
    return [np.asarray(x) for x in jax.tree.leaves(arrays)]


@pytest.mark.parametrize("fsdp", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_twenty_steps_on_a_mesh_are_those_on_one_device(alone, fsdp):
    """Sums over the batch are made in another order: float32 rounding, 20 times."""
    state, losses = run(train.make_mesh(2, fsdp=fsdp))
    np.testing.assert_allclose(losses, alone[1], rtol=1e-5)
    for a, b in zip(numbers(state), numbers(alone[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    shards = {s.data.shape for s in state.model.first.addressable_shards}
    assert shards == {(5, WIDTH // fsdp)}
    assert state.model.bias.is_fully_replicated


@pytest.mark.slow
def test_a_state_is_made_in_parts_with_the_same_numbers():
    mesh = train.make_mesh(2, fsdp=2)
    whole, split = init(), init(mesh)
    for a, b in zip(numbers(whole), numbers(split), strict=True):
        np.testing.assert_array_equal(a, b)
    for tree in (split.model, split.ema):
        assert tree.first.sharding.spec == PartitionSpec(None, "fsdp")
        assert tree.second.sharding.spec == PartitionSpec("fsdp")
    created = train.TrainState.create(
        Network(WIDTH, jax.random.key(3)), make_optimiser(), key=jax.random.key(3)
    )
    for a, b in zip(numbers(whole), numbers(created), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert train.shard_state(split, mesh) is split


def test_a_path_overrides_the_rule():
    mesh = train.make_mesh(2, fsdp=2)
    rules = {r"\.first": PartitionSpec(), r"\.second": PartitionSpec(None, "fsdp")}
    state = init(mesh, overrides=rules)
    moments = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
        if jax.tree_util.keystr(path).endswith(".mu.second")
    ]
    assert len(moments) == 1
    for x in (state.model.second, state.ema.second, *moments):
        assert x.sharding.spec == PartitionSpec(None, "fsdp")
    assert state.model.first.is_fully_replicated
    step = train.make_train_step(loss_fn, make_optimiser(), mesh=mesh, overrides=rules)
    state, _ = step(state, next(iter(make_data())))
    assert state.model.second.sharding.spec == PartitionSpec(None, "fsdp")


@pytest.mark.parametrize(
    "spec, message",
    [
        (PartitionSpec(None, None, "fsdp"), "longer than the shape"),
        (PartitionSpec("model"), r"names the mesh axis 'model'; .*\['data', 'fsdp'\]"),
        (PartitionSpec("fsdp"), r"of length 5 into 2 parts.*\(5, 640\)"),
    ],
)
def test_overrides_that_do_not_fit(spec, message):
    mesh = train.make_mesh(2, fsdp=2)
    with pytest.raises(ValueError, match=message):
        train.shard_state(init(), mesh, {r"\.first": spec})


@pytest.mark.parametrize("fsdp", [0, 3])
def test_meshes_whose_axis_does_not_fit(fsdp):
    with pytest.raises(ValueError, match=f"divide the 2 devices.*got {fsdp}.*of 1, 2"):
        train.make_mesh(2, fsdp=fsdp)


def collectives(mesh) -> dict[str, int]:
    """Counts how many of each kind there are in the compiled text of a step."""
    step = train.make_train_step(loss_fn, make_optimiser(), mesh=mesh)
    batch = train.shard_batch(next(iter(make_data())), mesh)
    text = step.lower(init(mesh), batch).compile().as_text()
    kinds = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
    return {kind: len(re.findall(rf"= .*\b{kind}(-start)?\(", text)) for kind in kinds}


def test_data_parallel_steps_move_gradients_only():
    found = collectives(train.make_mesh(2))
    assert found["all-gather"] == found["all-to-all"] == 0
    assert found["all-reduce"] >= 1


@pytest.mark.slow
def test_split_states_are_gathered():
    assert collectives(train.make_mesh(2, fsdp=2))["all-gather"] >= 2


@pytest.mark.slow
def test_memory_is_shared():
    """By the compiler's analysis, the state of a device is its share of the whole."""

    def memory(mesh):
        step = train.make_train_step(loss_fn, make_optimiser(), mesh=mesh)
        batch = train.shard_batch(next(iter(make_data())), mesh)
        compiled = step.lower(init(mesh), batch).compile()
        return compiled.memory_analysis().alias_size_in_bytes

    whole, split = (memory(train.make_mesh(2, fsdp=fsdp)) for fsdp in (1, 2))
    assert abs(split / (whole / 2) - 1) < 0.15


@pytest.mark.slow
def test_parts_of_a_batch_have_the_gradient_of_the_whole(x64):
    """Without randomness; the mean of the parts' means is the mean of all."""

    def quiet(model, batch, *, key):
        error = model(batch["x"]) - batch["y"]
        return jnp.mean(error**2), {"size": jnp.asarray(float(len(error)))}

    batch = next(iter(make_data(dtype=np.float64)))
    results = []
    for accumulate, mesh in ((1, None), (4, None), (4, train.make_mesh(2))):
        step = train.make_train_step(
            quiet, make_optimiser(), accumulate=accumulate, mesh=mesh
        )
        state = make_state(model=make_model(np.float64))
        state, metrics = step(state, batch)
        results.append((state, metrics))
        assert float(metrics["size"]) == 8 / accumulate
    first, metrics = results[0]
    for state, other in results[1:]:
        np.testing.assert_allclose(other["loss"], metrics["loss"], rtol=1e-13)
        np.testing.assert_allclose(other["grad_norm"], metrics["grad_norm"], rtol=1e-13)
        np.testing.assert_allclose(
            state.model.weight, first.model.weight, rtol=0, atol=1e-14
        )


def test_the_parts_of_a_batch_have_keys_of_their_own():
    def loss(model, batch, *, key):
        return loss_fn(model, batch, key=key)[0], {"draw": jax.random.uniform(key)}

    step = train.make_train_step(loss, make_optimiser(), accumulate=2)
    _, metrics = step(make_state(), next(iter(make_data())))
    key = jax.random.fold_in(jax.random.key(0), 0)
    draws = [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(2)]
    np.testing.assert_allclose(metrics["draw"], np.mean(draws), rtol=1e-6)


def test_a_batch_that_cannot_be_divided():
    step = train.make_train_step(loss_fn, make_optimiser(), accumulate=3)
    with pytest.raises(ValueError, match=r"batch of 8 cannot be divided into 3.*of 3"):
        step(make_state(), next(iter(make_data())))
    with pytest.raises(ValueError, match="`accumulate` must be at least 1, got 0"):
        train.make_train_step(loss_fn, make_optimiser(), accumulate=0)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [None, 2])
def test_several_steps_in_one_program(num_devices):
    mesh = None if num_devices is None else train.make_mesh(num_devices)
    step, data = make_step(mesh), iter(make_data())
    batches = [next(data) for _ in range(4)]
    one, losses = make_state(), []
    for batch in batches:
        one, metrics = step(one, batch)
        losses.append(float(metrics["loss"]))
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    many, metrics = step.many(make_state(), stacked)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-6)
    assert metrics["grad_norm"].shape == (4,)
    assert many.step == 4
    for a, b in zip(numbers(many), numbers(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gathered_arrays_are_whole():
    mesh = train.make_mesh(2, fsdp=2)
    state = init(mesh)
    whole = train.gather(state.ema)
    assert len(whole.first.devices()) == 1
    np.testing.assert_array_equal(whole.first, np.asarray(state.ema.first))


@pytest.mark.slow
def test_shapes_are_enough_to_compile():
    """The program from shapes is that from arrays: the same flops and memory."""
    mesh = train.make_mesh(2, fsdp=2)
    step = train.make_train_step(loss_fn, make_optimiser(), mesh=mesh)
    batch = train.shard_batch(next(iter(make_data())), mesh)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), batch
    )
    abstract = train.abstract_state(
        lambda key: Network(WIDTH, key), make_optimiser(), mesh=mesh
    )
    compiled = [
        step.lower(s, b).compile() for s, b in ((abstract, shapes), (init(mesh), batch))
    ]
    first, second = (c.memory_analysis() for c in compiled)
    assert first.argument_size_in_bytes == second.argument_size_in_bytes
    costs = [c.cost_analysis()["flops"] for c in compiled]
    assert costs[0] == costs[1] > 0
