"""NCSN and NCSNv2: the published numbers, and NumPy's of every block.

`data/ncsn.npz` and `data/ncsnv2.npz` hold small instances with the published options,
all of whose parameters are random, and what the published classes
(github.com/ermongroup/ncsnv2 at 1bcea03b) compute from them in double precision.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.nn import (
    NCSN,
    ConditionalInstanceNormPlus,
    InstanceNormPlus,
    NCSNv2,
    load_state_dict,
    state_dict,
)
from softsde.nn._refine import (
    RCU,
    ChainedResidualPooling,
    MeanPoolConv,
    MultiResolutionFusion,
    NCSNBlock,
    RefineBlock,
    resize_bilinear,
)

from . import _naive

DATA = Path(__file__).parent / "data"
SHAPE = (6, 8, 3)
SMALL = dict(base_channels=4)
NETWORKS = {"NCSN": NCSN, "NCSNv2": NCSNv2}

apply = eqx.filter_jit(lambda network, *args, **kwargs: network(*args, **kwargs))


def conditional(channels, *, key):
    return ConditionalInstanceNormPlus(channels, 5, key=key)


@pytest.fixture(params=["plain", "conditional"])
def make_norm(request):
    return InstanceNormPlus if request.param == "plain" else conditional


@pytest.fixture(params=NETWORKS)
def network_class(request):
    return NETWORKS[request.param]


def image(*shape, seed=0, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def close(found, expected):
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-10 * abs(expected).max()
    )


@pytest.mark.parametrize(
    "dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_published_network(x64, key, name, dtype):
    """The outputs that the published PyTorch class computed, for its own weights."""
    with np.load(DATA / f"{name.lower()}.npz") as file:
        vectors = dict(file)
    weights = {
        name.removeprefix("weight:"): array
        for name, array in vectors.items()
        if name.startswith("weight:")
    }
    network = NETWORKS[name]((16, 16, 3), base_channels=4, key=key)
    network = load_state_dict(network, weights)
    network = jax.tree.map(lambda p: p.astype(dtype), network)
    xs = jnp.asarray(vectors["x"].transpose(0, 2, 3, 1), dtype)
    found = eqx.filter_jit(jax.vmap(lambda i, x: network(i, x)))(vectors["labels"], xs)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    for i, one, expected in zip(
        vectors["labels"],
        found,
        vectors["y_float64"].transpose(0, 2, 3, 1),
        strict=True,
    ):
        if "sigmas" in weights:
            # The published class rounds the levels to float32, and divides by them.
            expected = expected * weights["sigmas"][i].astype(np.float64)
            expected = expected / network.sigmas[i]
        np.testing.assert_allclose(
            one, expected, rtol=0, atol=tolerance * abs(expected).max()
        )


@pytest.mark.slow
def test_a_state_dict_makes_the_way_back(key, network_class):
    network = network_class(SHAPE, **SMALL, key=key)
    state = state_dict(network)
    other = network_class(SHAPE, **SMALL, key=jax.random.key(1))
    back = load_state_dict(other, state)
    for one, two in zip(jax.tree.leaves(network), jax.tree.leaves(back), strict=True):
        assert jnp.array_equal(one, two)
    name = "refine4.output_convs.3_2_conv.weight"
    del state[name]
    with pytest.raises(ValueError, match=f"missing: {name}"):
        load_state_dict(other, state)


@pytest.mark.slow
def test_levels_of_another_network_are_refused(key):
    state = state_dict(NCSNv2(SHAPE, **SMALL, sigma_begin=50.0, key=key))
    other = NCSNv2(SHAPE, **SMALL, sigma_begin=20.0, key=key)
    with pytest.raises(ValueError, match="sigmas"):
        load_state_dict(other, state)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_network(x64, key, name):
    """Against NumPy, on an image that is not square and with a condition."""
    network = NETWORKS[name](SHAPE, **SMALL, num_levels=5, num_classes=3, key=key)
    network = _naive.random_weights(network)
    x = image(*SHAPE)
    told = np.asarray(network.condition.weight)[2]
    expected = _naive.refine_net(network.net, np.asarray(x), 3, told)
    if name == "NCSNv2":
        expected = expected / (50.0 * (0.01 / 50.0) ** (3 / 4))
    close(apply(network, jnp.array(3), x, jnp.array(2)), expected)


def test_instance_norms(x64, key):
    x = image(5, 3, 4) + 10.0
    plain = _naive.random_weights(InstanceNormPlus(4, key=key))
    close(plain(x), _naive.norm(plain, np.asarray(x), None))
    told = _naive.random_weights(conditional(4, key=key))
    for level in range(5):
        found = told(x, jnp.array(level))
        close(found, _naive.norm(told, np.asarray(x), level))
    for level in (-1, 5):
        assert jnp.all(jnp.isnan(told(x, jnp.array(level))))


def test_means_of_half_precision_are_not_lost(key):
    """Sums of 4096 numbers around 100, of which bfloat16 has three digits."""
    norm = InstanceNormPlus(2, key=key)
    x = (100 + image(64, 64, 2, dtype=np.float32)).astype(jnp.bfloat16)
    exact = _naive.norm(norm, np.asarray(x, np.float64), None)
    # One rounding of the output: 2^-8 relative.
    np.testing.assert_allclose(
        np.asarray(norm(x), np.float64), exact, rtol=0.004, atol=2e-3
    )


@pytest.mark.parametrize("size", [(8, 14), (5, 7), (4, 3)])
def test_resize(x64, size):
    x = image(4, 7, 2)
    close(resize_bilinear(x, *size), _naive.resize(np.asarray(x), *size))


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_mean_pool_conv(x64, key, kernel_size):
    layer = _naive.random_weights(MeanPoolConv(3, 2, kernel_size, key))
    x = image(4, 6, 3)
    close(layer(x), _naive.mean_pool(_naive.conv(layer.conv, np.asarray(x))))


@pytest.mark.parametrize(
    ("out", "down", "dilation"),
    [(3, False, None), (4, False, None), (4, True, None), (3, True, 2), (3, False, 4)],
)
def test_residual_block(x64, key, make_norm, out, down, dilation):
    block = NCSNBlock(3, out, make_norm, down=down, dilation=dilation, key=key)
    block = _naive.random_weights(block)
    x = image(6, 10, 3)
    expected = _naive.ncsn_block(block, np.asarray(x), 2, down, dilation)
    close(apply(block, jnp.array(2), x), expected)


@pytest.mark.parametrize("normed", [False, True])
def test_blocks_of_the_refine_net(x64, key, normed):
    norm = conditional if normed else None
    level = jnp.array(1)
    xs = [image(6, 8, 3), image(3, 4, 2, seed=1)]
    plain = [np.asarray(x) for x in xs]

    units = _naive.random_weights(RCU(3, 2, norm, key=key))
    close(apply(units, level, xs[0]), _naive.rcu(units, plain[0], 1))

    fusion = _naive.random_weights(MultiResolutionFusion((3, 2), 4, norm, key=key))
    found = apply(fusion, level, xs, 6, 8)
    close(found, _naive.fusion(fusion, plain, 1, 6, 8))

    pooling = _naive.random_weights(ChainedResidualPooling(3, norm, key=key))
    close(apply(pooling, level, xs[0]), _naive.chained_pooling(pooling, plain[0], 1))

    block = _naive.random_weights(RefineBlock((3, 2), 4, norm, last=True, key=key))
    close(apply(block, level, *xs), _naive.refine(block, plain, 1))


@pytest.mark.parametrize("sigmas", [None, (1.0, 0.9, 0.5, 0.02, 0.01)])
def test_the_denoiser_gives_it_the_index_of_the_level(x64, key, network_class, sigmas):
    """Tweedie with the score at the level that is nearest in ratio."""
    process = ss.ve(0.01, 1.0)
    options = dict(sigma_begin=1.0, sigma_end=0.01, num_levels=5, sigmas=sigmas)
    network = network_class(SHAPE, **SMALL, **options, key=key)
    network = _naive.random_weights(network)
    expected = 10.0 ** np.array([0, -0.5, -1, -1.5, -2]) if sigmas is None else sigmas
    np.testing.assert_allclose(network.sigmas, expected)
    denoiser = ss.Denoiser(network, process, ss.parametrisations.Score())
    x = image(*SHAPE)
    for t in (0.0, 0.3, 0.62, 1.0):
        sigma = float(process.sigma(t))
        level = jnp.argmin(abs(jnp.log(network.sigmas / sigma)))
        expected = np.asarray(x) + sigma**2 * np.asarray(apply(network, level, x))
        found = apply(denoiser, jnp.asarray(t), x)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.slow
def test_a_level_that_is_not_there(key, network_class):
    network = network_class(SHAPE, **SMALL, num_levels=5, key=key)
    x = image(*SHAPE, dtype=np.float32)
    for level in (-1, 5):
        assert jnp.all(jnp.isnan(apply(network, jnp.array(level), x)))


@pytest.mark.slow
def test_remat_changes_no_gradient(key, network_class):
    x = image(*SHAPE, dtype=np.float32)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(network):
        return jnp.mean(network(2, x) ** 2)

    def run(**options):
        network = network_class(SHAPE, **SMALL, num_levels=5, **options, key=key)
        value, gradient = loss(network)
        return value, jax.tree.leaves(gradient)

    value, gradient = run()
    again, gradient_again = run(remat=True)
    np.testing.assert_allclose(again, value, rtol=1e-5)
    for one, two in zip(gradient, gradient_again, strict=True):
        scale = float(jnp.max(jnp.abs(one))) + 1e-6
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-4 * scale)


@pytest.mark.slow
def test_half_precision_is_float32_to_its_roundings(key, network_class):
    """The error is one of rounding alone: proportional to the unit roundoff."""
    make = lambda dtype: network_class(
        SHAPE, **SMALL, num_levels=5, compute_dtype=dtype, key=key
    )
    x, level = image(*SHAPE, dtype=np.float32), jnp.array(2)
    expected = apply(make(None), level, x)
    errors = {}
    for dtype in ("bfloat16", "float16"):
        network = make(dtype)
        arrays = jax.tree.leaves(eqx.filter(network, eqx.is_array))
        assert {p.dtype for p in arrays} == {jnp.dtype("float32")}
        found = apply(network, level, x)
        assert found.dtype == x.dtype
        distance = jnp.linalg.norm(found - expected)
        errors[dtype] = float(distance / jnp.linalg.norm(expected))
    # 8 bits of bfloat16 against 11 of float16.
    assert 4 < errors["bfloat16"] / errors["float16"] < 16
    # 58 convolutions one behind another, each with two roundings of at most 2^-8:
    # independent ones add up to sqrt(116) 2^-8 = 0.042. Norms over few pixels can
    # double it.
    assert errors["bfloat16"] < 2 * np.sqrt(116) * 2**-8


def test_errors(key, as_a_user, network_class):
    name = network_class.__name__
    with pytest.raises(ValueError, match=r"must be even; got 5x8.*6x8"):
        network_class((5, 8, 3), **SMALL, key=key)
    with pytest.raises(ValueError, match=f"`{name}` got `sigma_begin=0.1`"):
        network_class(SHAPE, **SMALL, sigma_begin=0.1, sigma_end=0.2, key=key)
    with pytest.raises(ValueError, match="at least 2 levels"):
        network_class(SHAPE, **SMALL, num_levels=1, key=key)
    for sigmas in ([1.0], [0.1, 0.2], [1.0, 0.0], [[1.0, 0.1]]):
        with pytest.raises(ValueError, match=f"`{name}` got `sigmas="):
            network_class(SHAPE, **SMALL, sigmas=sigmas, key=key)
    with pytest.raises(ValueError, match="compute_dtype='half'"):
        network_class(SHAPE, **SMALL, compute_dtype="half", key=key)
    with pytest.raises(ValueError, match="1 channel; expected at least 2"):
        network_class(SHAPE, base_channels=1, key=key)
    network = network_class(SHAPE, **SMALL, key=key)
    with pytest.raises(ValueError, match=f"this {name} was made for images of shape"):
        network(0, jnp.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match="made without conditions"):
        network(0, jnp.zeros(SHAPE), jnp.array(1))
