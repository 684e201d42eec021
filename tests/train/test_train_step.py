"""One training step against the same arithmetic written out in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import (
    INPUTS,
    OUTPUTS,
    Linear,
    assert_same_state,
    loss_fn,
    make_data,
    make_model,
    make_optimiser,
    make_state,
    make_step,
    shared_step,
)

from softsde import train


def noiseless_loss(model, batch, *, key):
    return jnp.mean((model(batch["x"]) - batch["y"]) ** 2), {}


def adam_by_hand(batches, *, rates, clip, b1, b2, eps, decay, weight_decay):
    """Parameters, their average and gradient norms after each step."""
    w, b = np.linspace(-1, 1, 10).reshape(5, 2), np.zeros(2)
    params, ema = [w, b], [w, b]
    m, v = [0 * w, 0 * b], [0 * w, 0 * b]
    norms = []
    for n, (x, y) in enumerate(batches):
        error = 2 * (x @ params[0] + params[1] - y) / y.size
        gradient = [x.T @ error, error.sum(0)]
        norms.append(np.sqrt(sum((g**2).sum() for g in gradient)))
        gradient = [g * min(1, clip / norms[-1]) for g in gradient]
        m = [b1 * a + (1 - b1) * g for a, g in zip(m, gradient, strict=True)]
        v = [b2 * a + (1 - b2) * g**2 for a, g in zip(v, gradient, strict=True)]
        m_hat = [a / (1 - b1 ** (n + 1)) for a in m]
        v_hat = [a / (1 - b2 ** (n + 1)) for a in v]
        params = [
            p - rates[n] * (a / (np.sqrt(c) + eps) + weight_decay * p)
            for p, a, c in zip(params, m_hat, v_hat, strict=True)
        ]
        d = min(decay, (1 + n) / (10 + n))
        ema = [d * e + (1 - d) * p for e, p in zip(ema, params, strict=True)]
    return params, ema, norms


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_step_is_clipped_adam_with_a_moving_average(x64, weight_decay):
    steps, peak, warmup, total = 30, 0.2, 4, 25
    batches = [
        (INPUTS[i : i + 8], OUTPUTS[i : i + 8])
        for i in np.random.default_rng(1).integers(0, 56, size=steps)
    ]
    n = np.arange(steps)
    rates = peak * np.minimum(1, (n + 1) / warmup)
    done = np.clip((n - warmup) / (total - warmup), 0, 1)
    rates = rates * (0.5 + 0.5 * np.cos(np.pi * done))
    params, ema, norms = adam_by_hand(
        batches,
        rates=rates,
        clip=2.0,
        b1=0.8,
        b2=0.95,
        eps=1e-6,
        decay=0.5,
        weight_decay=weight_decay,
    )
    assert min(norms) < 2.0 < max(norms), "clipping should be seen both on and off"

    optimiser = train.make_optimiser(
        peak,
        clip=2.0,
        warmup_steps=warmup,
        total_steps=total,
        schedule="cosine",
        weight_decay=weight_decay,
        b1=0.8,
        b2=0.95,
        eps=1e-6,
    )
    state = train.TrainState.create(
        make_model(np.float64), optimiser, key=jax.random.key(0)
    )
    step = train.make_train_step(noiseless_loss, optimiser, ema_decay=0.5)
    for n, (x, y) in enumerate(batches):
        state, metrics = step(state, {"x": x, "y": y})
        np.testing.assert_allclose(metrics["grad_norm"], norms[n], rtol=1e-12)
        np.testing.assert_allclose(metrics["learning_rate"], rates[n], rtol=1e-12)
    assert state.step == steps
    for model, truth in ((state.model, params), (state.ema, ema)):
        np.testing.assert_allclose(model.weight, truth[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(model.bias, truth[1], rtol=0, atol=1e-12)


def test_average_without_warm_up(x64):
    state = make_state(model=make_model(np.float64))
    step = train.make_train_step(
        noiseless_loss, make_optimiser(), ema_decay=0.75, ema_warmup=False
    )
    ema = np.asarray(state.ema.weight)
    for _ in range(3):
        state, _ = step(state, {"x": INPUTS, "y": OUTPUTS})
        ema = 0.75 * ema + 0.25 * np.asarray(state.model.weight)
    np.testing.assert_allclose(state.ema.weight, ema, rtol=0, atol=1e-15)


def test_two_devices_do_what_one_does(x64):
    mesh = train.make_mesh(2)
    one, two = (make_state(model=make_model(np.float64)) for _ in range(2))
    step_one, step_two = make_step(), make_step(mesh)
    data = iter(make_data(dtype=np.float64))
    for _ in range(6):
        batch = next(data)
        one, metrics_one = step_one(one, batch)
        two, metrics_two = step_two(two, batch)
        for name in ("loss", "grad_norm", "learning_rate", "largest"):
            np.testing.assert_allclose(metrics_one[name], metrics_two[name], rtol=1e-12)
    np.testing.assert_allclose(one.model.weight, two.model.weight, atol=1e-13, rtol=0)
    np.testing.assert_allclose(one.ema.weight, two.ema.weight, atol=1e-13, rtol=0)
    assert two.model.weight.sharding.device_set == set(mesh.devices.flat)
    assert two.model.weight.is_fully_replicated


def test_batches_are_split_and_not_copied():
    mesh = train.make_mesh(2)
    batch = {"x": np.arange(12.0, dtype=np.float32).reshape(6, 2)}
    sharded = train.shard_batch(batch, mesh)["x"]
    np.testing.assert_array_equal(sharded, batch["x"])
    shards = sorted(sharded.addressable_shards, key=lambda s: s.index[0].start)
    for shard, half in zip(shards, (batch["x"][:3], batch["x"][3:]), strict=True):
        np.testing.assert_array_equal(shard.data, half)
    on_one_device = train.shard_batch({"x": jnp.asarray(batch["x"])}, mesh)["x"]
    assert on_one_device.sharding == sharded.sharding


def test_a_state_is_put_on_every_device(key):
    mesh = train.make_mesh(2)
    tree = {"a": np.arange(3.0, dtype=np.float32), "key": key, "f": jnp.tanh}
    placed = train.shard_state(tree, mesh)
    for shard in placed["a"].addressable_shards:
        np.testing.assert_array_equal(shard.data, tree["a"])
    assert placed["a"].sharding.device_set == set(mesh.devices.flat)
    assert jax.random.uniform(placed["key"]) == jax.random.uniform(key)
    assert placed["f"] is jnp.tanh
    assert train.shard_state(placed, mesh) is placed
    assert train.shard_state(tree, None) is tree


@pytest.mark.parametrize("num_devices", [None, 1, 2])
def test_step_is_traced_once_and_compiled_once_on_a_mesh(num_devices, tmp_path, caplog):
    """Over many steps, from a new state and from a restored one.

    On a mesh of one device, a state made without the mesh lies where it should.
    """
    mesh = None if num_devices is None else train.make_mesh(num_devices)
    step = make_step(mesh, eqx.debug.assert_max_traces(loss_fn, max_traces=1))
    state, data = make_state(), iter(make_data())
    caplog.set_level("WARNING", logger="jax")
    with jax.log_compiles():
        for _ in range(5):
            state, _ = step(state, next(data))
        with train.Checkpointer(tmp_path) as checkpoints:
            checkpoints.save(state, data, 5)
            checkpoints.wait()
            state, _ = checkpoints.restore(make_state(), data)
        for _ in range(5):
            state, _ = step(state, next(data))
    compiled = [m for m in caplog.messages if m.startswith("Compiling jit(one)")]
    # Without a mesh, restored arrays are bound to their device and new ones are not.
    assert len(compiled) == (2 if mesh is None else 1)


def test_randomness_is_the_key_and_the_step(key):
    def loss(model, batch, *, key):
        return noiseless_loss(model, batch, key=key)[0], {
            "draw": jax.random.normal(key)
        }

    state, step = make_state(), make_step(loss=loss)
    state = eqx.tree_at(lambda s: s.key, state, jnp.copy(key))
    for n in range(3):
        state, metrics = step(state, next(iter(make_data())))
        expected = jax.random.normal(jax.random.fold_in(key, n))
        np.testing.assert_array_equal(metrics["draw"], expected)


def test_the_state_is_consumed_but_not_what_it_was_made_of(key):
    model = make_model()
    start = train.TrainState.create(model, make_optimiser(), key=key)
    weight = np.array(model.weight)
    state, _ = shared_step()(start, next(iter(make_data())))
    assert start.model.weight.is_deleted() and start.ema.weight.is_deleted()
    np.testing.assert_array_equal(model.weight, weight)
    np.testing.assert_array_equal(
        jax.random.key_data(key), jax.random.key_data(state.key)
    )


def test_only_floating_point_arrays_are_trained():
    class Odd(eqx.Module):
        linear: Linear
        counts: jax.Array
        activation: object
        name: str = eqx.field(static=True)

        def __call__(self, x):
            return self.activation(self.linear(x))

    odd = Odd(make_model(), jnp.array([0, 1]), jnp.tanh, "odd")
    state, step = make_state(model=odd), make_step(loss=noiseless_loss)
    for _ in range(2):
        state, _ = step(state, next(iter(make_data())))
    for model in (state.model, state.ema):
        np.testing.assert_array_equal(model.counts, odd.counts)
        assert model.activation is jnp.tanh
        assert np.abs(model.linear.weight - odd.linear.weight).max() > 1e-3


def test_optimisers_of_optax_do_as_well():
    import optax

    optimiser = optax.sgd(0.5)
    state = train.TrainState.create(make_model(), optimiser, key=jax.random.key(0))
    step = train.make_train_step(noiseless_loss, optimiser, ema_decay=0.0)
    batch = next(iter(make_data()))
    gradient, _ = eqx.filter_grad(noiseless_loss, has_aux=True)(
        make_model(), batch, key=None
    )
    state, metrics = step(state, batch)
    expected = make_model().weight - 0.5 * gradient.weight
    np.testing.assert_allclose(state.model.weight, expected, rtol=1e-6)
    np.testing.assert_allclose(state.ema.weight, expected, rtol=1e-6)
    assert metrics.keys() == {"loss", "grad_norm"}


class Perceptron(eqx.Module):
    """A network of `equinox.nn`, with a function among its leaves, on a batch."""

    network: eqx.nn.MLP

    def __call__(self, x):
        return jax.vmap(self.network)(x)


def tree_of_arrays(dtype):
    model = make_model(dtype)
    return {"layers": [model.weight, (model.bias, None)], "scale": 2.0}


def loss_of_a_tree(model, batch, *, key):
    weight, (bias, _) = model["layers"]
    return noiseless_loss(Linear(weight * model["scale"], bias), batch, key=key)


def equinox_network(dtype):
    return Perceptron(eqx.nn.MLP(5, 2, 7, 1, dtype=dtype, key=jax.random.key(3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, loss",
    [(equinox_network, noiseless_loss), (tree_of_arrays, loss_of_a_tree)],
    ids=["equinox.nn", "tree of arrays"],
)
def test_any_tree_of_arrays_is_a_model(x64, make, loss):
    """Against the same descent by hand, on the arrays alone."""
    import optax

    model, optimiser = make(np.float64), optax.sgd(0.1)
    state = train.TrainState.create(model, optimiser, key=jax.random.key(0))
    step = train.make_train_step(loss, optimiser, ema_decay=0.0)
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def on_arrays(arrays, batch):
        return loss(eqx.combine(arrays, rest), batch, key=None)[0]

    batch = {"x": INPUTS[:8], "y": OUTPUTS[:8]}
    for _ in range(3):
        state, _ = step(state, batch)
        gradient = jax.grad(on_arrays)(arrays, batch)
        arrays = jax.tree.map(lambda x, g: x - 0.1 * g, arrays, gradient)
    for trained in (state.model, state.ema):
        found, kept = eqx.partition(trained, eqx.is_inexact_array)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(arrays), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
        assert eqx.tree_equal(kept, rest)


def test_equal_runs_are_equal_to_the_last_bit():
    def run():
        state, data = make_state(), iter(make_data())
        for _ in range(5):
            state, _ = shared_step(2)(state, next(data))
        return state

    assert_same_state(run(), run())


@pytest.mark.parametrize(
    "metrics, error, message",
    [
        ({"loss": 1.0}, ValueError, "called 'loss'.*another name"),
        (
            {"errors": np.zeros(3, np.float32)},
            ValueError,
            r"'errors' with shape \(3,\).*mean",
        ),
        (1.0, TypeError, "dictionary of scalars.*got metrics of type"),
    ],
)
def test_wrong_metrics(metrics, error, message):
    def loss(model, batch, *, key):
        return noiseless_loss(model, batch, key=key)[0], metrics

    with pytest.raises(error, match=message):
        make_step(loss=loss)(make_state(), next(iter(make_data())))


def test_a_model_without_parameters():
    with pytest.raises(ValueError, match="holds no floating-point array"):
        make_state(model={"rate": 0.1, "count": jnp.arange(3)})


def test_wrong_decay():
    with pytest.raises(ValueError, match=r"`ema_decay` must lie in \[0, 1\), got 1.0"):
        train.make_train_step(loss_fn, make_optimiser(), ema_decay=1.0)


@pytest.mark.parametrize(
    "batch, message",
    [
        ({"x": np.zeros((7, 2))}, "batch of 7 cannot be split.*2 devices.*6 or 8"),
        ({"x": np.zeros((1, 2))}, "batch of 1 cannot be split.*batch size of 2 "),
        (
            {"x": np.zeros((4, 2)), "y": np.zeros(2)},
            r"same leading axis.*\['x'\] of shape \(4, 2\), \['y'\] of shape \(2,\)",
        ),
        ({"x": np.zeros(())}, r"same leading axis.*\['x'\] of shape \(\)"),
        ({}, "no array at all"),
    ],
)
def test_batches_that_cannot_be_split(batch, message):
    with pytest.raises(ValueError, match=message):
        train.shard_batch(batch, train.make_mesh(2))


@pytest.mark.parametrize("num_devices", [0, 3])
def test_meshes_that_cannot_be(num_devices):
    with pytest.raises(ValueError, match=f"between 1 and 2.*got {num_devices}.*XLA_FL"):
        train.make_mesh(num_devices)
