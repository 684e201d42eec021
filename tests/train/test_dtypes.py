"""A step of training changes no dtype, and averages move in every precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import INPUTS, OUTPUTS, Linear, assert_same_state, make_data, make_model

from softsde import train
from softsde.train._state import ema_weight, update_ema

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

OPTIMISERS = {
    "adam": lambda: optax.adam(1e-2),
    "adam of a schedule": lambda: optax.adam(optax.linear_schedule(0.0, 1e-2, 9)),
    "adamw": lambda: optax.adamw(1e-2, weight_decay=0.1),
    "bfloat16 moments": lambda: optax.adam(1e-2, mu_dtype=jnp.bfloat16),
    "make_optimiser": lambda: train.make_optimiser(
        1e-2, warmup_steps=2, total_steps=9, schedule="cosine", weight_decay=0.1
    ),
}


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def either_x64(request):
    with jax.enable_x64(request.param):
        yield request.param


def mixed_model() -> dict:
    """Each precision that a network may have, and leaves that are not trained."""
    return {
        "wide": make_model(jnp.float32),
        "half": make_model(jnp.bfloat16),
        "sixteen": jnp.ones(3, jnp.float16),
        "complex": jnp.array([1 + 2j], jnp.complex64),
        "bits": jnp.arange(3, dtype=jnp.uint32),
        "count": jnp.array(3, jnp.int32),
        "rate": 0.5,
    }


def mixed_loss(model, batch, carry, *, key):
    """It computes in the widest dtype there is, as a careless loss does."""
    wide = jnp.result_type(float)
    total = jnp.zeros((), wide)
    for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)):
        total += jnp.sum(jnp.abs(leaf - jnp.ones((), leaf.dtype)).astype(wide) ** 2)
    noise = jax.random.normal(key, batch["x"].shape, wide)
    error = model["half"](batch["x"].astype(jnp.bfloat16)).astype(wide) - batch["y"]
    carry = {
        "sum": carry["sum"].astype(wide) + jnp.mean(noise),
        "count": carry["count"].astype(jnp.result_type(int)) + 2,
    }
    return total + jnp.mean(error**2), ({"noise": jnp.mean(noise)}, carry)


def kinds(state) -> dict[str, tuple]:
    arrays = jax.tree_util.tree_leaves_with_path(eqx.filter(state, eqx.is_array))
    return {
        jax.tree_util.keystr(path): (x.shape, x.dtype, x.aval.weak_type)
        for path, x in arrays
    }


@pytest.mark.parametrize("num_devices", [None, 2])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_changes_no_dtype(either_x64, name, num_devices):
    mesh = None if num_devices is None else train.make_mesh(num_devices)
    optimiser = OPTIMISERS[name]()
    # int32 on purpose: with x64 on, JAX's own integers are int64.
    carry = {"sum": jnp.zeros((), jnp.float32), "count": jnp.zeros((), jnp.int32)}
    start = mixed_model()
    if name == "bfloat16 moments":
        del start["complex"]  # whose moments cannot be real
    state = train.TrainState.create(
        start, optimiser, key=jax.random.key(0), carry=carry
    )
    before = kinds(state)
    loss = eqx.debug.assert_max_traces(mixed_loss, max_traces=1)
    step = train.make_train_step(loss, optimiser, mesh=mesh)
    wide = np.float64 if either_x64 else np.float32
    batch = {"x": INPUTS[:8].astype(wide), "y": OUTPUTS[:8].astype(wide)}
    for _ in range(3):
        state, _ = step(state, batch)
    assert kinds(state) == before
    assert int(state.carry["count"]) == 6
    # They are trained all the same, and what is not a parameter is not.
    for trained in ("wide", "half"):
        assert not eqx.tree_equal(state.model[trained], start[trained])
    for kept in ("bits", "count", "rate"):
        assert eqx.tree_equal(state.model[kept], start[kept])
        assert eqx.tree_equal(state.ema[kept], start[kept])


def test_dtypes_of_the_averages(either_x64):
    state = train.TrainState.create(
        mixed_model() | {"double": jnp.ones(2, jnp.result_type(float))},
        optax.adam(1e-2),
        key=jax.random.key(0),
    )
    assert state.ema["half"].weight.dtype == jnp.float32
    assert state.ema["sixteen"].dtype == jnp.float32
    assert state.ema["wide"].weight.dtype == jnp.float32
    assert state.ema["complex"].dtype == jnp.complex64
    assert state.ema["double"].dtype == (jnp.float64 if either_x64 else jnp.float32)
    moments = optax.tree_utils.tree_get(state.opt_state, "nu")
    assert moments["half"].weight.dtype == jnp.float32


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_average_follows_its_recursion(either_x64, dtype, warmup):
    """At a decay that bfloat16 rounds to 1, over thousands of steps.

    `ema_n = d_n ema + (1 - d_n) w_n`, in double precision. Each float32 step rounds by
    at most 1.2e-7 for values below 2, at random: 7e-8 sqrt(5000) = 5e-6 in all. The
    weight `1 - 0.9999` subtracted in float32 would give 5e-5.
    """
    steps, decay = 5000, 0.9999
    draw = np.random.default_rng(0)
    weights = jnp.asarray(1.0 + 0.5 * draw.normal(size=(steps, 4)), dtype)
    start = jnp.zeros(4, jnp.float32)

    @jax.jit
    def average(start, weights):
        def body(ema, xs):
            n, new = xs
            return update_ema(ema, new, ema_weight(decay, n, warmup=warmup)), None

        count = jnp.arange(steps, dtype=jnp.int32)
        return jax.lax.scan(body, start, (count, weights))[0]

    expected = np.zeros(4)
    for n, new in enumerate(np.asarray(weights, np.float64)):
        d = min(decay, (1 + n) / (10 + n)) if warmup else decay
        expected = d * expected + (1 - d) * new
    got = average(start, weights)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert np.all(expected > 0.3), "the average has moved"


def test_the_average_of_bfloat16_weights_in_a_run():
    """Each step's average against the recursion over the weights that were seen."""

    def loss(model, batch, *, key):
        x, y = (batch[name].astype(jnp.bfloat16) for name in ("x", "y"))
        return jnp.mean((model(x) - y) ** 2), {}

    optimiser = optax.sgd(0.05)
    model = make_model(jnp.bfloat16)
    state = train.TrainState.create(model, optimiser, key=jax.random.key(0))
    step = train.make_train_step(loss, optimiser, ema_decay=0.999, ema_warmup=False)
    expected = np.asarray(state.ema.weight, np.float64)
    start, data = expected, iter(make_data())
    for _ in range(60):
        state, _ = step(state, next(data))
        expected = 0.999 * expected + 0.001 * np.asarray(state.model.weight, np.float64)
    np.testing.assert_allclose(state.ema.weight, expected, rtol=0, atol=1e-6)
    assert np.abs(expected - start).max() > 1e-3, "the average has moved"


def test_moments_of_bfloat16_weights():
    """A constant gradient `g` has the second moment `g^2 (1 - b2^n)`.

    In bfloat16 the decay of 0.999 is 1, and the moment would grow until it stalls.
    """

    def loss(model, batch, *, key):
        return jnp.sum(model["w"] * batch["g"][0]), {}

    optimiser = optax.adam(1e-4, b2=0.999)
    state = train.TrainState.create(
        {"w": jnp.ones(2, jnp.bfloat16)}, optimiser, key=jax.random.key(0)
    )
    step = train.make_train_step(loss, optimiser)
    gradient = np.array([[0.5, -2.0]])
    batch = {"g": jnp.asarray(gradient, jnp.bfloat16)}
    for _ in range(400):
        state, _ = step(state, batch)
    moment = optax.tree_utils.tree_get(state.opt_state, "nu")["w"]
    expected = gradient[0] ** 2 * (1 - 0.999**400)
    np.testing.assert_allclose(moment, expected, rtol=1e-4)


def test_updates_are_rounded_once():
    """An update of bfloat16 weights is summed in float32, then rounded.

    The gap above 1 is 2^-7 in bfloat16. An update of just over half a gap is rounded up
    to a whole one. Rounded to bfloat16 before the sum it would be half a gap exactly,
    and the sum would be rounded to the even neighbour, 1.
    """

    def loss(model, batch, *, key):
        return -jnp.sum(model["w"]), {}

    optimiser = optax.sgd(2.0**-8 * (1 + 2.0**-12))
    state = train.TrainState.create(
        {"w": jnp.array([1.0], jnp.bfloat16)}, optimiser, key=jax.random.key(0)
    )
    state, _ = train.make_train_step(loss, optimiser)(state, {"x": np.zeros(1)})
    assert float(state.model["w"][0]) == 1.0 + 2.0**-7


def x64_loss(model, batch, *, key):
    """A float32 network inside a float64 computation."""
    noise = 0.1 * jax.random.normal(key, batch["x"].shape)
    output = model(batch["x"] + noise.astype(batch["x"].dtype))
    error = output.astype(jnp.result_type(float)) - batch["y"].astype(noise.dtype)
    return jnp.mean(error**2), {}


@pytest.mark.parametrize("name", ["adam", "make_optimiser"])
def test_a_float32_network_resumes_under_x64(tmp_path, x64, name):
    optimiser = OPTIMISERS[name]()
    step = train.make_train_step(x64_loss, optimiser)

    def fit(folder, num_steps):
        state = train.TrainState.create(
            make_model(np.float32), optimiser, key=jax.random.key(1)
        )
        return train.fit(
            state, make_data(), step, num_steps=num_steps, folder=folder, progress=False
        ).state

    whole = fit(tmp_path / "whole", 6)
    fit(tmp_path / "parts", 2)
    parts = fit(tmp_path / "parts", 6)
    assert_same_state(parts, whole)
    assert isinstance(parts.model, Linear)
    assert parts.model.weight.dtype == parts.ema.weight.dtype == jnp.float32


@pytest.mark.slow
def test_arrays_of_numpy_are_trained_from_the_first_trace_on():
    model = {"w": np.ones(2), "index": np.arange(2)}
    optimiser = optax.sgd(0.1)
    state = train.TrainState.create(model, optimiser, key=jax.random.key(0))

    @eqx.debug.assert_max_traces(max_traces=1)
    def loss(model, batch, *, key):
        return jnp.sum(model["w"][model["index"]]), {}

    step = train.make_train_step(loss, optimiser)
    for _ in range(2):
        state, _ = step(state, {"x": np.zeros(2)})
    np.testing.assert_allclose(state.model["w"], 0.8, rtol=1e-6)
    np.testing.assert_array_equal(model["w"], 1.0)
