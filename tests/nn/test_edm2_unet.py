"""EDM2's network: a plain implementation, the published code, and magnitudes.

`data/edm2_unet.npz` holds a small instance with labels, all of whose parameters are
random, and what the published code (github.com/NVlabs/edm2 at 4bf8162) computes from
them in single precision: the denoised images, and the uncertainty.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import softsde as ss
from softsde.nn import EDM2UNet, MPConv

from . import _plain_edm2 as plain

DATA = pathlib.Path(__file__).parent / "data" / "edm2_unet.npz"
OPTIONS = {
    "width": 8,
    "channel_multipliers": (1, 2),
    "blocks_per_level": 1,
    "attention_resolutions": (4,),
    "head_size": 8,
    "uncertainty_features": 6,
}


def make(shape=(8, 8, 3), **changes):
    return EDM2UNet(shape, **OPTIONS | changes, key=jax.random.key(0))


def random_state(network):
    """Random numbers in the place of all weights: a new network gives zero."""
    rng = np.random.default_rng(0)
    state = ss.nn.state_dict(network)
    return {name: rng.standard_normal(a.shape) for name, a in state.items()}


def doubled(network):
    to_double = lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a
    return jax.tree.map(to_double, network)


@pytest.mark.parametrize(
    "shape", [(8, 8, 3), pytest.param((4, 8, 1), marks=pytest.mark.slow)]
)
def test_it_equals_a_plain_implementation(shape, x64):
    """With and without a label, and for images that are not square."""
    heights = (shape[0] // 2,)
    network = make(shape, num_classes=5, attention_resolutions=heights)
    state = random_state(network)
    network = ss.nn.load_state_dict(doubled(network), state)
    call = eqx.filter_jit(network)
    x = jnp.asarray(np.random.default_rng(1).standard_normal(shape))
    for label, one_hot in ((2, np.eye(5)[2]), (-1, np.zeros(5))):
        expected = plain.network(0.3, np.asarray(x), one_hot, state)
        found = call(0.3, x, jnp.asarray(label))
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    # No condition is the label of none.
    np.testing.assert_array_equal(call(0.3, x), call(0.3, x, jnp.asarray(-1)))
    u = plain.layer(
        plain.fourier(0.3, state, "logvar_fourier"), state["logvar_linear.weight"]
    )
    np.testing.assert_allclose(network.log_variance(0.3), u[0], rtol=1e-12)


def test_it_equals_the_published_code():
    """Single precision is all the published code has, in its norms."""
    with np.load(DATA) as file:
        vectors = dict(file)
    state = {
        name.removeprefix("weight:"): array
        for name, array in vectors.items()
        if name.startswith("weight:")
    }
    network = make(num_classes=5)
    assert list(state) == list(ss.nn.state_dict(network))
    network = ss.nn.load_state_dict(network, state)
    process = ss.edm()
    denoiser = ss.Denoiser(network, process, ss.parametrisations.EDM(0.5))
    denoise = eqx.filter_jit(denoiser)
    for i, sigma in enumerate(vectors["sigma"]):
        t = process.noise.inverse(jnp.asarray(sigma))
        x = jnp.asarray(np.moveaxis(vectors["x"][i], 0, -1))
        found = denoise(t, x, jnp.asarray(vectors["label"][i]))
        expected = np.moveaxis(vectors["y"][i], 0, -1)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)
        u = network.log_variance(jnp.log(sigma) / 4)
        np.testing.assert_allclose(u, vectors["logvar"][i], rtol=1e-4)


@pytest.mark.slow
def test_vectors_as_conditions(x64):
    network = make(condition_size=3)
    state = random_state(network)
    network = ss.nn.load_state_dict(doubled(network), state)
    x, told = jnp.ones((8, 8, 3)), jnp.array([0.5, -1.0, 2.0])
    # The plain one multiplies by the root of the size, for labels.
    expected = plain.network(0.3, np.asarray(x), np.asarray(told) / np.sqrt(3), state)
    np.testing.assert_allclose(network(0.3, x, told), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "millions"), [("s", 280), ("m", 498), ("l", 777), ("xl", 1119)]
)
def test_the_published_counts(size, millions):
    """In millions, from the paper's Table 2."""
    network = eqx.filter_eval_shape(EDM2UNet.imagenet64, size, key=jax.random.key(0))
    arrays = eqx.filter(network, lambda a: isinstance(a, jax.ShapeDtypeStruct))
    assert round(sum(leaf.size for leaf in jax.tree.leaves(arrays)) / 1e6) == millions


def test_a_state_dict_there_and_back():
    """Each array of the network has one name."""
    network = make(num_classes=5)
    state = ss.nn.state_dict(network)
    arrays = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    assert len(state) == len(arrays)
    assert sum(a.size for a in state.values()) == sum(a.size for a in arrays)
    other = EDM2UNet((8, 8, 3), **OPTIONS, num_classes=5, key=jax.random.key(1))
    assert eqx.tree_equal(ss.nn.load_state_dict(other, state), network)


def rms(x):
    return float(jnp.sqrt(jnp.mean(jnp.asarray(x) ** 2)))


def test_magnitudes_are_kept(key):
    """A normal input of magnitude one gives an output of magnitude one."""
    a, b = (jax.random.normal(jax.random.fold_in(key, i), (64, 64, 8)) for i in (0, 1))
    c = jax.random.normal(jax.random.fold_in(key, 2), (64, 64, 24))
    # Each is a mean of 32,768 squares or more: two standard errors are 0.011.
    for found in (
        ss.nn.mp_silu(a),
        ss.nn.mp_sum(a, b, 0.3),
        ss.nn.mp_concatenate(a, c, 0.5),
        MPConv(8, 32, 3, key=key)(a)[1:-1, 1:-1],
        MPConv(8, 32, key=key)(a),
    ):
        # 32 kernels of 72 numbers differ, so their mean varies by more.
        assert rms(found) == pytest.approx(1.0, abs=0.03)
    both = ss.nn.mp_concatenate(a, c, 0.5)
    # Half of the magnitude comes from either, whatever their numbers of channels.
    halves = jnp.sum(both[..., :8] ** 2), jnp.sum(both[..., 8:] ** 2)
    assert float(halves[0] / halves[1]) == pytest.approx(1.0, rel=0.03)
    features = ss.nn.MPFourier(4096, key=key)
    assert rms(features(jnp.asarray(0.3))) == pytest.approx(1.0, abs=0.03)
    grown = eqx.tree_at(lambda m: m.weight, MPConv(8, 4, key=key), replace_fn=_grow)
    np.testing.assert_allclose(grown(a), MPConv(8, 4, key=key)(a), rtol=0, atol=2e-3)


def _grow(weight):
    return 100 * weight


def test_a_zero_has_a_gradient():
    """The magnitude of zero has one, though a root there has none."""
    gradient = jax.grad(lambda x: jnp.sum(ss.nn.unit_magnitude(x, 0)))(jnp.zeros(3))
    np.testing.assert_allclose(gradient, 1e4, rtol=1e-4)


def test_weights_keep_their_length(key):
    """After updates, each output's weights have magnitude one; biases are untouched."""
    model = {"layer": MPConv(8, 4, 3, key=key), "other": jnp.ones(3)}
    optimiser = optax.chain(optax.sgd(1.0), ss.nn.keep_unit_weights())
    state = optimiser.init(model)
    gradient = jax.tree.map(jnp.ones_like, model)
    for _ in range(2):
        updates, state = optimiser.update(gradient, state, model)
        model = eqx.apply_updates(model, updates)
    assert float(model["other"][0]) == -1.0
    lengths = jnp.sqrt(jnp.mean(model["layer"].weight ** 2, axis=(0, 1, 2)))
    np.testing.assert_allclose(lengths, 1.0, rtol=2e-4)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimiser.update(gradient, state)


@pytest.mark.slow
def test_it_learns(key):
    """Through the library's own training, in half precision with all options."""
    network = make(
        (8, 8, 1), num_classes=2, dropout=0.1, compute_dtype="bfloat16", remat=True
    )
    denoiser = ss.Denoiser(network, ss.edm(), ss.parametrisations.EDM(0.5))
    optimiser = optax.chain(
        ss.train.make_optimiser(3e-2, warmup_steps=0), ss.nn.keep_unit_weights()
    )
    loss = ss.losses.CleanPrediction(weight=ss.losses.EDMWeight(0.5))
    images = jnp.stack([jnp.full((8, 8, 1), v) for v in (-0.5, 0.5)] * 8)
    batch = {"image": images, "label": jnp.asarray([0, 1] * 8)}

    def loss_fn(model, batch, *, key):
        return ss.losses.batch_loss(
            loss, model, batch["image"], condition=batch["label"], key=key
        ), {}

    step = ss.train.make_train_step(loss_fn, optimiser)
    state = ss.train.TrainState.create(denoiser, optimiser, key=key)
    losses = []
    for _ in range(150):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])
    weight = state.model.network.decoder[0].conv1.weight
    assert weight.dtype == np.float32
    lengths = jnp.sqrt(jnp.mean(weight**2, axis=(0, 1, 2)))
    np.testing.assert_allclose(lengths, 1.0, rtol=3e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (6, 8, 1), "channel_multipliers": (1, 1, 1)}, "multiples of 4"),
        (
            {"attention_resolutions": (16,)},
            r"=\(16,\)`, and no level has the height 16; .* have 8, 4\.",
        ),
        ({"head_size": 5}, r"`head_size=5`, and attention at \[16\] channels"),
        ({"num_classes": 2, "condition_size": 2}, "Give one of them"),
        ({"label_balance": 1.5}, r"`label_balance=1.5`; expected 0 to 1"),
        ({"compute_dtype": "half"}, "compute_dtype='half'"),
    ],
)
def test_options_that_do_not_go_together(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_what_it_was_not_made_for_is_refused(as_a_user):
    x = jnp.zeros((8, 8, 3))
    with pytest.raises(ValueError, match=r"made for images of shape \(8, 8, 3\)"):
        make()(0.1, jnp.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="made without conditions"):
        make()(0.1, x, 3)
    with pytest.raises(ValueError, match="takes one integer label"):
        make(num_classes=5)(0.1, x, jnp.zeros(5))
    with pytest.raises(ValueError, match="`size='xxl'`; expected one of xs, s"):
        EDM2UNet.imagenet64("xxl", key=jax.random.key(0))
