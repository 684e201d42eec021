"""Conditions in networks: what changes the output, what stands for none, what errs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.nn import MLP, ConditionEmbedding, UNet

SHAPE = (8, 4, 2)
NUM_CLASSES, SIZE = 5, 3


def make_unet(key, **options):
    return UNet(
        SHAPE,
        base_channels=8,
        channel_multipliers=(1, 2),
        group_size=4,
        key=key,
        **options,
    )


def make_mlp(key, **options):
    return MLP(SHAPE, width=16, depth=2, key=key, **options)


@pytest.fixture(params=[make_unet, make_mlp], ids=["UNet", "MLP"])
def make(request):
    """A network whose parameters are all perturbed: a new one predicts zero."""

    def perturbed(key, **options):
        network = request.param(key, **options)
        params, static = eqx.partition(network, eqx.is_array)
        leaves, structure = jax.tree.flatten(params)
        # By shape and place among the leaves, so that networks with and without a
        # condition, whose weights come last, agree in all others.
        draw = lambda i, leaf: np.random.default_rng(i).standard_normal(leaf.shape)
        leaves = [
            leaf + jnp.asarray(0.1 * draw(i, leaf), leaf.dtype)
            for i, leaf in enumerate(leaves)
        ]
        return eqx.combine(jax.tree.unflatten(structure, leaves), static)

    return perturbed


apply = eqx.filter_jit(lambda network, t, x, c=None: network(t, x, c))
x = jnp.asarray(np.random.default_rng(3).standard_normal(SHAPE), np.float32)
t = jnp.array(0.3)
vector = jnp.array([0.5, -1.0, 2.0])


def distance(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def test_every_label_has_its_own_output(key, make):
    network = make(key, num_classes=NUM_CLASSES)
    outputs = [apply(network, t, x, jnp.array(c)) for c in range(-1, NUM_CLASSES)]
    for i, one in enumerate(outputs):
        assert all(distance(one, other) > 1e-3 for other in outputs[:i])


def test_every_entry_of_a_vector_counts(key, make):
    network = make(key, condition_size=SIZE)
    plain = apply(network, t, x, vector)
    for i in range(SIZE):
        assert distance(apply(network, t, x, vector.at[i].add(1.0)), plain) > 1e-3


def test_no_condition_has_three_spellings(key, make):
    """`None`, the label -1 and the vector 0 give the network without conditions."""
    plain = apply(make(key), t, x)
    labelled = make(key, num_classes=NUM_CLASSES)
    assert jnp.array_equal(apply(labelled, t, x), plain)
    assert jnp.array_equal(apply(labelled, t, x, jnp.array(-1)), plain)
    told = make(key, condition_size=SIZE)
    assert jnp.array_equal(apply(told, t, x), plain)
    assert jnp.array_equal(apply(told, t, x, jnp.zeros(SIZE)), plain)


@pytest.mark.parametrize("make_new", [make_unet, make_mlp])
def test_the_arrays_of_a_condition_come_last(key, make_new):
    """A file of an unconditional network lists the other arrays in the same order."""
    arrays = lambda network: jax.tree.leaves(eqx.filter(network, eqx.is_array))
    plain = arrays(make_new(key))
    for options in (dict(num_classes=NUM_CLASSES), dict(condition_size=SIZE)):
        *shared, own = arrays(make_new(key, **options))
        assert own.shape[0] == next(iter(options.values()))
        for one, other in zip(shared, plain, strict=True):
            assert jnp.array_equal(one, other)


def test_a_label_is_a_row_and_a_vector_a_combination(x64, key):
    embedding = ConditionEmbedding(7, num_classes=NUM_CLASSES, key=key)
    for label in range(NUM_CLASSES):
        assert jnp.array_equal(embedding(jnp.array(label)), embedding.weight[label])
    assert jnp.array_equal(embedding(jnp.array(-1)), jnp.zeros(7, jnp.float32))
    embedding = ConditionEmbedding(7, condition_size=SIZE, key=key)
    vector = np.array([0.5, -1.0, 2.0])
    expected = vector @ np.asarray(embedding.weight, np.float64)
    np.testing.assert_allclose(embedding(jnp.asarray(vector)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [dict(num_classes=400), dict(condition_size=400)],
    ids=["label", "vector"],
)
def test_a_new_embedding_has_unit_variance(key, options):
    """As the features of the time have, to which it is added."""
    embedding = ConditionEmbedding(500, **options, key=key)
    vector = jnp.asarray(np.random.default_rng(0).standard_normal(400), np.float32)
    value = embedding(jnp.array(17) if "num_classes" in options else vector)
    # 500 squares of standard normal numbers: a standard error of sqrt(2 / 500).
    assert abs(float(jnp.mean(value**2)) - 1) < 4 * (2 / 500) ** 0.5


def test_mixed_labels_in_one_batch(key, make):
    network = make(key, num_classes=NUM_CLASSES)
    labels = jnp.array([3, -1, 0, 3, 4])
    xs = jnp.stack([x, x, x, 2 * x, x])
    batched = eqx.filter_jit(jax.vmap(lambda x, c: network(t, x, c)))(xs, labels)
    looped = [apply(network, t, x, c) for x, c in zip(xs, labels, strict=True)]
    np.testing.assert_allclose(batched, jnp.stack(looped), atol=2e-5)


def test_gradients_reach_the_rows_that_were_used(key, make):
    network = make(key, num_classes=NUM_CLASSES)
    labels = jnp.array([3, -1, 0])

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(network):
        return jnp.sum(jax.vmap(lambda c: network(t, x, c))(labels) ** 2)

    used = jnp.linalg.norm(gradient(network).condition.weight, axis=1) > 1e-6
    assert used.tolist() == [True, False, False, True, False]


@pytest.mark.slow
def test_gradients_reach_a_vector(key, make):
    network = make(key, condition_size=SIZE)
    loss = lambda vector: jnp.sum(jnp.sin(network(t, x, vector)))
    gradient = jax.jit(jax.grad(loss))(vector)
    for i in range(SIZE):
        shift = jnp.zeros(SIZE).at[i].set(1e-2)
        difference = (loss(vector + shift) - loss(vector - shift)) / 2e-2
        # Float32 rounds the sum to about 1e-6, which 2e-2 divides.
        np.testing.assert_allclose(gradient[i], difference, rtol=2e-2, atol=1e-3)


@pytest.mark.slow
def test_a_python_float_is_a_time(key, make):
    network = make(key, num_classes=NUM_CLASSES)
    np.testing.assert_allclose(network(0.3, x, 2), apply(network, t, x, 2), atol=2e-5)
    np.testing.assert_allclose(network(0.3, x), apply(network, t, x), atol=2e-5)


@pytest.mark.slow
def test_dtypes_stay(x64, key, make):
    """A sample keeps its dtype, whatever those of time and condition are."""
    labelled = make(key, num_classes=NUM_CLASSES)
    told = make(key, condition_size=SIZE)
    for dtype in (jnp.float32, jnp.bfloat16):
        sample, label = x.astype(dtype), jnp.array(2, jnp.int64)
        output = eqx.filter_eval_shape(labelled, 0.3, sample, label)
        assert output.dtype == dtype
        vector = jnp.ones(SIZE, jnp.float64)
        output = eqx.filter_eval_shape(told, jnp.array(0.3), sample, vector)
        assert output.dtype == dtype


@pytest.mark.parametrize("label", [NUM_CLASSES, -2, 100])
def test_a_label_out_of_range_is_an_error(key, make, label):
    network = make(key, num_classes=NUM_CLASSES)
    with pytest.raises(RuntimeError, match=r"`num_classes=5`.*expected 0 to 4"):
        jax.block_until_ready(apply(network, t, x, jnp.array(label)))


@pytest.mark.parametrize(
    ("options", "condition", "message"),
    [
        ({}, 1, r"without conditions.*`num_classes=`.*`condition_size=`"),
        (dict(num_classes=5), 0.5, r"one integer label; got float32 of shape \(\)"),
        (dict(num_classes=5), np.array([1, 2]), r"of shape \(2,\).*`jax.vmap`"),
        (dict(condition_size=3), np.zeros(4, np.float32), r"a vector of 3 .*\(4,\)"),
        (dict(condition_size=3), np.zeros(3, np.int32), r"got int32 of shape \(3,\)"),
    ],
)
def test_conditions_of_another_kind_are_refused(key, make, options, condition, message):
    network = make(key, **options)
    with pytest.raises(ValueError, match=message):
        network(t, x, condition)


@pytest.mark.parametrize("make_new", [make_unet, make_mlp])
@pytest.mark.parametrize(
    "options",
    [dict(num_classes=5, condition_size=3), dict(num_classes=0)],
)
def test_one_kind_of_condition_at_a_time(key, make_new, options):
    with pytest.raises(ValueError, match=r"`num_classes` if the condition is a label"):
        make_new(key, **options)
