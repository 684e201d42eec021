"""The UNet: what is zero, what depends on what, and that derivatives are right."""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.nn import UNet

SMALL = dict(base_channels=8, channel_multipliers=(1, 2), group_size=4, num_heads=2)
VARIANTS = {
    "pixels": dict(attention_levels=(1,)),
    "patches": dict(
        patch_size=2, refine_channels=4, middle_attention=True, positions=True
    ),
}
SHAPE = (8, 12, 2)


# One compilation for all tests that call the same kind of network.
apply = eqx.filter_jit(lambda network, t, x, key=None: network(t, x, key=key))


@eqx.filter_jit
def push(network, t, x, direction):
    """The derivative of the output as time and image move in a direction."""
    return jax.jvp(lambda t, x: network(t, x), (t, x), direction)


def make(key, **options):
    """A UNet whose parameters are all perturbed, so that no branch is zero."""
    network = UNet(SHAPE, **SMALL | options, key=key)
    return perturb(network, 1)


def perturb(network, seed, dtype=np.float32):
    draw = np.random.default_rng(seed).standard_normal
    params, static = eqx.partition(network, eqx.is_array)
    params = jax.tree.map(
        lambda p: jnp.asarray(np.asarray(p) + 0.1 * draw(p.shape), dtype), params
    )
    return eqx.combine(params, static)


def image(seed, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(SHAPE), dtype)


@pytest.fixture(params=VARIANTS)
def options(request):
    return VARIANTS[request.param]


def test_a_new_network_predicts_zero(key, options):
    network = UNet(SHAPE, **SMALL | options, key=key)
    x = image(3)
    assert jnp.array_equal(apply(network, jnp.array(0.3), x), jnp.zeros(SHAPE))


@pytest.mark.slow
def test_derivatives(x64, key, options):
    """Against finite differences, in time, image and parameters at once, along random
    directions; and none of the parameters is idle."""
    network = perturb(UNet(SHAPE, **SMALL | options, key=key), 1, np.float64)
    params, static = eqx.partition(network, eqx.is_array)
    point = (params, jnp.array(0.4), image(3, np.float64))

    @jax.jit
    @jax.value_and_grad
    def f(point):
        params, t, x = point
        return jnp.sum(jnp.sin(eqx.combine(params, static)(t, x)))

    def check(direction):
        shifted = lambda h: f(unravel(flat + h * direction))[0]
        h = 1e-5
        # Fourth order: the sine features of the time have large third derivatives.
        difference = (
            8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))
        ) / (12 * h)
        slope = jnp.vdot(jax.flatten_util.ravel_pytree(gradient)[0], direction)
        np.testing.assert_allclose(slope, difference, rtol=1e-6)

    _, gradient = f(point)
    flat, unravel = jax.flatten_util.ravel_pytree(point)
    rng = np.random.default_rng(4)
    for _ in range(3):
        check(jnp.asarray(rng.standard_normal(flat.shape)))

    leaves = jax.tree_util.tree_leaves_with_path(gradient[0])
    idle = [
        jax.tree_util.keystr(path)
        for path, leaf in leaves
        if float(np.max(np.abs(leaf))) < 1e-6
    ]
    assert not idle


@pytest.mark.slow
def test_the_time_reaches_every_level(key, options):
    """The derivative in `t` is as large as the output is."""
    network = make(key, **options)
    x = image(3)
    direction = (jnp.array(1.0), jnp.zeros(SHAPE))
    value, derivative = push(network, jnp.array(0.4), x, direction)
    assert float(jnp.linalg.norm(derivative)) > 0.1 * float(jnp.linalg.norm(value))


@pytest.mark.slow
@pytest.mark.parametrize("pixel", [(0, 0), (3, 4), (7, 11)])
def test_every_pixel_is_seen(key, options, pixel):
    """By itself and, through the coarse levels, by pixels far beyond a 3x3 kernel."""
    network = make(key, **options)
    x = image(3)
    bump = jnp.zeros(SHAPE).at[pixel].set(1.0)
    direction = (jnp.array(0.0), bump)
    _, response = push(network, jnp.array(0.4), x, direction)
    assert float(jnp.max(jnp.abs(response[pixel]))) > 1e-3
    rows, columns = np.nonzero(np.max(np.abs(response), axis=-1) > 1e-5)
    assert max(np.max(abs(rows - pixel[0])), np.max(abs(columns - pixel[1]))) >= 5


def test_pixels_of_a_patch_are_told_apart(key):
    """At full resolution: the response to a bump does not repeat with the patches."""
    network = make(key, **VARIANTS["patches"])
    responses = []
    for shift in (0, 1):
        bump = jnp.zeros(SHAPE).at[4, 4 + shift].set(1.0)
        direction = (jnp.array(0.0), bump)
        _, response = push(network, jnp.array(0.4), jnp.zeros(SHAPE), direction)
        responses.append(jnp.roll(response, -shift, axis=1))
    centre = [r[2:6, 3:6] for r in responses]
    scale = jnp.linalg.norm(centre[0])
    # Two neighbours in one patch have their own responses, of a like size.
    assert float(jnp.linalg.norm(centre[0] - centre[1])) > 0.01 * float(scale)
    assert float(jnp.linalg.norm(centre[1])) > 0.1 * float(scale)


@pytest.mark.parametrize(
    ("levels", "middle", "where"),
    [
        ((), False, "none"),
        ((0,), False, "0"),
        ((1,), False, "1 and middle"),
        ((1,), True, "1 and middle"),
        ((), True, "middle"),
        ((0,), True, "0 and middle"),
    ],
)
def test_attention_is_where_it_is_asked_for(key, levels, middle, where):
    """In the encoder and the decoder of these levels, and in the middle."""
    options = dict(attention_levels=levels, middle_attention=middle)
    make = lambda: UNet(SHAPE, **SMALL | options, key=key)
    network = eqx.filter_eval_shape(make)
    has = lambda stage: stage.attention is not None
    found = [[has(stage) for stage in level] for level in network.encoder]
    assert found == [[has(stage) for stage in level] for level in network.decoder]
    names = [str(level) for level, [attends] in enumerate(found) if attends]
    assert " and ".join(names + ["middle"] * has(network.middle) or ["none"]) == where


def test_positions_tell_one_pixel_from_another(key):
    """In an even image, pixels that see no border differ by their positions alone."""
    shape = (22, 24, 1)
    options = dict(base_channels=4, channel_multipliers=(1,), group_size=4)
    plain = UNet(shape, **options, key=key)
    told = UNet(shape, **options, positions=True, key=key)
    leaves = [jax.tree.leaves(network) for network in (plain, told)]
    # The other weights are the same: those of the positions come last.
    assert all(map(jnp.array_equal, *leaves)) and len(leaves[1]) == len(leaves[0]) + 2
    # Eight convolutions one after the other: a pixel sees eight pixels to each side.
    inner = []
    for network in (plain, told):
        y = apply(perturb(network, 1), jnp.array(0.3), jnp.ones(shape))[8:-8, 8:-8, 0]
        inner.append(np.ravel(y - y[0, 0]))
    np.testing.assert_allclose(inner[0], 0.0, atol=1e-6)
    apart = np.abs(inner[1][:, None] - inner[1])
    assert np.min(apart[np.triu_indices(inner[1].size, 1)]) > 1e-5


@pytest.mark.slow
def test_vmap_is_a_loop(key, options):
    network = make(key, **options)
    ts = jnp.array([0.1, 0.5, 0.9])
    xs = jnp.stack([image(seed) for seed in range(3)])
    batched = jax.jit(jax.vmap(lambda t, x: network(t, x)))(ts, xs)
    looped = jnp.stack([apply(network, t, x) for t, x in zip(ts, xs, strict=True)])
    np.testing.assert_allclose(batched, looped, atol=2e-5)


def test_bfloat16_is_float32_to_its_precision(key):
    network = make(key, **VARIANTS["pixels"])
    x = image(3).astype(jnp.bfloat16)
    t = jnp.array(0.5)
    low, high = apply(network, t, x), apply(network, t, x.astype(jnp.float32))
    assert low.dtype == jnp.bfloat16
    # bfloat16 has 8 bits: a relative 0.4 % a rounding, through some thirty layers.
    error = jnp.linalg.norm(low.astype(jnp.float32) - high) / jnp.linalg.norm(high)
    assert float(error) < 0.05


@pytest.mark.slow
def test_dropout_needs_a_key(key):
    network = make(key, **VARIANTS["pixels"], dropout=0.3)
    certain = make(key, **VARIANTS["pixels"])
    t, x = jnp.array(0.4), image(3)
    assert jnp.array_equal(apply(network, t, x), apply(certain, t, x))
    one, same, other = (apply(network, t, x, jax.random.key(i)) for i in (0, 0, 1))
    assert jnp.array_equal(one, same)
    assert not jnp.allclose(one, other, atol=1e-3)


@pytest.mark.slow
def test_dropout_is_unbiased_in_each_block(key):
    """A block is affine in what is dropped, so its mean is the block without."""
    block = make(key, dropout=0.3).middle.block
    rng = np.random.default_rng(0)
    embedding = jnp.asarray(rng.standard_normal(32), np.float32)
    x = jnp.asarray(rng.standard_normal((4, 4, 16)), np.float32)
    draws = jax.jit(jax.vmap(lambda k: block(embedding, x, key=k)))(
        jax.random.split(key, 4000)
    )
    error = jnp.mean(draws, axis=0) - block(embedding, x)
    standard_error = jnp.std(draws, axis=0) / 4000**0.5
    # 256 numbers: the largest of so many standard normal ones is about 3.
    assert float(jnp.max(jnp.abs(error / standard_error))) < 4.5
    assert float(jnp.min(standard_error)) > 0


def test_parameter_count_of_the_smallest(key):
    """Counted by hand: one level, one block a side, 8 channels, an embedding of 32."""
    network = UNet(
        (4, 4, 1), base_channels=8, channel_multipliers=(1,), group_size=4, key=key
    )
    conv = 9 * 8 * 8 + 8
    block = 2 * 8 + conv + (32 * 16 + 16) + conv
    merge = 2 * (8 * 8 + 8)
    time = (64 * 32 + 32) + (32 * 32 + 32)
    stem, out = 9 * 8 + 8, 9 * 8 + 1
    expected = time + stem + 3 * block + merge + 2 * 8 + out
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    assert sum(leaf.size for leaf in leaves) == expected


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((28, 28, 1), dict(patch_size=2), r"multiples of 8; got 28x28.*24x24.*32x32"),
        ((2, 8, 1), {}, r"multiples of 4; got 2x8.*4x8, or"),
        ((8, 8, 1), dict(blocks_per_level=(1, 2)), r"each of the 3 levels"),
        ((8, 8, 1), dict(blocks_per_level=0), r"at least 1; got \(0, 0, 0\)"),
        ((8, 8, 1), dict(attention_levels=(3,)), r"holds 3.*0 \(the finest\) to 2"),
        ((8, 8, 1), dict(base_channels=12), r"group_size=8 for 12 channels"),
        (
            (8, 8, 1),
            dict(attention_levels=(0,), num_heads=5),
            r"num_heads=5 for 32 channels",
        ),
    ],
)
def test_bad_arguments(key, shape, options, message):
    with pytest.raises(ValueError, match=message):
        UNet(shape, **options, key=key)


def test_a_batch_is_refused(key):
    network = UNet(SHAPE, **SMALL, key=key)
    with pytest.raises(ValueError, match=r"shape \(8, 12, 2\); got \(12, 8, 2\)"):
        network(jnp.array(0.5), jnp.zeros((12, 8, 2)))


@pytest.mark.slow
def test_compute_dtype_is_that_of_the_inside(key):
    """The same function as on bfloat16 images, from float32 images to float32."""
    options = VARIANTS["pixels"]
    plain, half = make(key, **options), make(key, **options, compute_dtype="bfloat16")
    assert all(
        p.dtype == jnp.float32 for p in jax.tree.leaves(eqx.filter(half, eqx.is_array))
    )
    x = image(3).astype(jnp.bfloat16)
    found = apply(half, jnp.array(0.5), x.astype(jnp.float32))
    assert found.dtype == jnp.float32
    expected = apply(plain, jnp.array(0.5), x).astype(jnp.float32)
    scale = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * scale)


@pytest.mark.slow
def test_remat_changes_no_gradient(key, options):
    x = image(3)

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(network):
        return jnp.mean(network(jnp.array(0.5), x) ** 2)

    one, two = (gradient(make(key, **options, remat=flag)) for flag in (False, True))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        scale = float(jnp.max(jnp.abs(a))) + 1e-6
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * scale)
