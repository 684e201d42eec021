"""Networks as denoisers: what reaches the network, and what an optimiser may move."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import softsde as ss
from softsde.parametrisations import EDM, Clean, Noise, Residual

DIM = 3


def clean(network, process=None):
    return ss.Denoiser(network, ss.ve() if process is None else process, Clean())


def test_a_python_float_is_a_time(key):
    """The network sees a scalar in the dtype of the sample, whatever it was given."""
    x = jax.random.normal(key, (DIM,))
    seen = []

    def network(t, x, condition, *, key=None):
        seen.append(t)
        return t * x

    for t in (0.25, np.float64(0.25), jnp.asarray(0.25)):
        np.testing.assert_array_equal(clean(network)(t, x), 0.25 * x)
    assert [(t.shape, t.dtype) for t in seen] == 3 * [((), jnp.float32)]


def test_single_precision_stays_where_double_is_at_hand(x64, key):
    x = jax.random.normal(key, (DIM,), jnp.float32)
    network = lambda t, x, condition, *, key=None: t * x
    for parametrisation in (Clean(), Residual(), EDM(), Noise()):
        denoiser = ss.Denoiser(network, ss.ve(), parametrisation)
        assert denoiser(0.5, x).dtype == jnp.float32


def test_the_key_of_dropout_reaches_the_network(key):
    def network(t, x, condition, *, key=None):
        return x if key is None else x + jax.random.normal(key, x.shape)

    x = jnp.ones(DIM)
    noise = jax.random.normal(key, (DIM,))
    np.testing.assert_array_equal(clean(network)(0.5, x, key=key), x + noise)
    np.testing.assert_array_equal(clean(network)(0.5, x), x)


def test_the_condition_is_passed_on_as_it_is(key):
    """Any PyTree, also through `jax.vmap`, and `None` where none is given."""
    network = lambda t, x, condition, *, key=None: (
        x if condition is None else x * condition["scale"] + condition["shift"]
    )
    denoiser, xs = clean(network), jax.random.normal(key, (4, DIM))
    told = {"scale": jnp.arange(4.0), "shift": jnp.ones((4, DIM))}
    got = jax.vmap(denoiser, in_axes=(None, 0, 0))(0.5, xs, told)
    expected = np.asarray(xs) * np.arange(4.0)[:, None] + 1
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(denoiser(0.5, xs[0]), xs[0])


def test_the_parametrisation_by_default_is_stored():
    network = lambda t, x, condition, *, key=None: x
    for process in (ss.edm(), ss.rectified_flow(), ss.soft_blur((4, 4, 1))):
        expected = ss.parametrisations.default_for(process)
        stored = ss.Denoiser(network, process).parametrisation
        assert type(stored) is type(expected)


class Scale(eqx.Module):
    """A network of one weight."""

    weight: jax.Array

    def __call__(self, t, x, condition=None, *, key=None):
        return self.weight * x


def trainable(*, train_process):
    """A denoiser whose process has numbers that could be trained."""
    process = ss.Process(
        ss.corruptions.Fade(),
        ss.schedules.PiecewiseLinear([0.0, 1.0], [0.0, 0.8]),
        ss.schedules.Geometric(jnp.asarray(0.1), jnp.asarray(2.0)),
    )
    network = Scale(jnp.asarray(0.5))
    return ss.Denoiser(network, process, Clean(), train_process=train_process)


def inexact(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))


def test_an_optimiser_finds_the_network_and_not_the_process():
    (weight,) = inexact(trainable(train_process=False))
    assert float(weight) == 0.5
    # The times and levels of the corruption, the two ends of the noise, the weight.
    assert sum(leaf.size for leaf in inexact(trainable(train_process=True))) == 7


@pytest.mark.parametrize("train_process", [False, True])
def test_only_a_process_that_is_to_be_trained_has_a_gradient(x64, train_process):
    """sigma at one half is sqrt(a b), with derivatives sqrt(b/a)/2 and sqrt(a/b)/2."""
    denoiser = trainable(train_process=train_process)
    slope = eqx.filter_grad(lambda d: d.process.sigma(0.5))(denoiser)
    assert len(inexact(slope)) == (5 if train_process else 1)
    if train_process:
        numbers = [float(leaf) for leaf in inexact(slope.process.noise)]
        np.testing.assert_allclose(numbers, [np.sqrt(20) / 2, np.sqrt(1 / 20) / 2])


def test_weight_decay_cannot_move_a_process():
    """Ten steps of AdamW on the whole denoiser: the process stays, bit for bit."""
    denoiser = trainable(train_process=False)
    optimiser = optax.adamw(0.1, weight_decay=0.5)
    state = optimiser.init(eqx.filter(denoiser, eqx.is_inexact_array))
    loss = lambda d: jnp.sum((d(0.5, jnp.ones(DIM)) * d.process.sigma(0.5) - 2) ** 2)
    trained = denoiser
    for _ in range(10):
        slope = eqx.filter_grad(loss)(trained)
        weights = eqx.filter(trained, eqx.is_inexact_array)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(slope, state, weights)
        trained = eqx.apply_updates(trained, updates)
    assert float(trained.network.weight) > 0.6
    for before, after in zip(
        jax.tree.leaves(denoiser.process),
        jax.tree.leaves(trained.process),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)


def test_a_fixed_process_is_known_inside_jit():
    """So checks see its numbers, and choices by them are made at compile time."""
    network = lambda t, x, condition, *, key=None: x
    denoiser = ss.Denoiser(network, ss.ve(0.01, 5.0))

    @jax.jit
    def run(x):
        assert denoiser.process.known_sigma(1.0) == pytest.approx(5.0)
        assert not denoiser.process.is_noiseless
        return denoiser(0.5, x)

    run(jnp.ones(DIM))


def test_mistakes_are_named(as_a_user):
    network = lambda t, x, condition, *, key=None: x
    with pytest.raises(TypeError, match="`Denoiser` got function for `process`"):
        ss.Denoiser(network, network)  # pyright: ignore
    with pytest.raises(TypeError, match="`Denoiser` got float for `network`"):
        ss.Denoiser(0.5, ss.ve())  # pyright: ignore
    with pytest.raises(ValueError, match="`Noise` determines"):
        ss.Denoiser(network, ss.soft_blur((4, 4, 1)), Noise())
