"""NCSN++ and DDPM++: the published numbers, a plain NumPy network, and all options."""

import json

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.nn import (
    DDPMpp,
    NCSNpp,
    SeesLevel,
    SeesSigma,
    SeesTime,
    load_state_dict,
    state_dict,
)

from ._plain_score import PlainScore
from ._vectors import DATA, load

# The parameters of the published networks, as PyTorch counts them.
PUBLISHED = {
    NCSNpp.cifar10_continuous: 62_758_915,
    NCSNpp.cifar10_deep: 107_587_075,
    NCSNpp.celeba64: 62_693_251,
    DDPMpp.cifar10_continuous: 61_804_419,
}
TINY = dict(
    width=8,
    channel_multipliers=(1, 2),
    blocks_per_level=1,
    attention_resolutions=(4,),
    num_scales=10,
)
# Every option of the family that no file of vectors has, and each with others.
OPTIONS = {
    "cat": dict(progressive_input="input_skip", progressive_combine="cat"),
    "filtered skips": dict(
        progressive_input="input_skip", progressive="output_skip", centered=True
    ),
    "filtered residuals": dict(progressive="residual", progressive_input="residual"),
    "residuals": dict(
        progressive="residual", progressive_input="residual", fir=None, block="ddpm"
    ),
    "filtered ddpm": dict(block="ddpm", progressive_input="none", activation="elu"),
    "no convolutions": dict(
        block="ddpm", fir=None, resample_with_conv=False, progressive_input="none"
    ),
    "not conditional": dict(conditional=False, scale_by_sigma=False),
    "not rescaled": dict(
        skip_rescale=False, progressive="residual", activation="lrelu"
    ),
    "levels": dict(embedding="positional", activation="relu"),
}


def perturbed(network, seed=1):
    """Every parameter drawn anew, so that no zero initialisation hides a mistake."""
    rng = np.random.default_rng(seed)
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def draw(p):
        fan_in = max(int(np.prod(p.shape[:-1])), 1) if p.ndim > 1 else 4
        return jnp.asarray(rng.standard_normal(p.shape) / np.sqrt(fan_in), p.dtype)

    return eqx.combine(jax.tree.map(draw, params), static)


def doubled(network):
    """The same network in double precision."""
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, network
    )


def images(batch):
    """From channels first to channels last."""
    return jnp.asarray(np.moveaxis(batch, 1, -1))


apply = eqx.filter_jit(
    lambda network, t, x, c=None, key=None: network(t, x, c, key=key)
)


@eqx.filter_jit
def apply_all(network, ts, xs):
    return jax.vmap(lambda t, x: network(t, x))(ts, xs)


def close(got, expected, tolerance):
    expected = np.asarray(expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, atol=tolerance * scale, rtol=0)


def arrays_of(network):
    """The arrays of a network, or what stands for them where there are only shapes."""
    is_array = lambda leaf: isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)
    return [leaf for leaf in jax.tree.leaves(network) if is_array(leaf)]


@pytest.fixture(scope="module")
def published():
    """The networks of the vectors, with their weights."""

    def make(name):
        options, state, vectors = load(name)
        kind = DDPMpp if name == "ddpmpp" else NCSNpp
        network = kind(**options, key=jax.random.key(0))
        return load_state_dict(network, state), vectors

    return make


@pytest.mark.parametrize("name", ["ncsnpp", "skips", "ddpmpp"])
def test_the_published_code_agrees(x64, published, name):
    """Both sets of inputs, in double precision, to the last digits."""
    network, vectors = published(name)
    network = doubled(network)
    for suffix in ("", "2"):
        x = images(vectors[f"x{suffix}"].astype(np.float64))
        labels = jnp.asarray(vectors[f"labels{suffix}"], jnp.float64)
        got = apply_all(network, labels, x)
        close(got, np.moveaxis(vectors[f"y_float64{suffix}"], 1, -1), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncsnpp", "skips", "ddpmpp"])
def test_the_published_code_agrees_in_single_precision(published, name):
    network, vectors = published(name)
    for suffix in ("", "2"):
        labels = jnp.asarray(vectors[f"labels{suffix}"])
        got = apply_all(network, labels, images(vectors[f"x{suffix}"]))
        close(got, np.moveaxis(vectors[f"y_float64{suffix}"], 1, -1), 1e-4)


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__qualname__)
def test_as_many_parameters_as_published(key, make):
    network = eqx.filter_eval_shape(make, key=key)
    assert sum(leaf.size for leaf in arrays_of(network)) == PUBLISHED[make]


def test_every_name_and_shape_is_the_published_one(key):
    """In the published order, too: averages of weights are saved without names."""
    network = eqx.filter_eval_shape(NCSNpp.cifar10_continuous, key=key)
    text = (DATA / "cifar10_ncsnpp_continuous_shapes.json").read_text()
    expected = [(name, tuple(shape)) for name, shape in json.loads(text).items()]
    names = network.state_names()
    shapes = [("sigmas", names.pop("sigmas").value.shape)]
    shapes += [
        (name, place.layout.shape(place.find(network).shape))
        for name, place in names.items()
    ]
    assert shapes == expected


def check_against_numpy(key, options, shape=(8, 4, 3)):
    network = perturbed(doubled(NCSNpp(shape, **TINY | options, key=key)))
    plain = PlainScore(state_dict(network), **dict(network.arguments))
    x = jnp.asarray(np.random.default_rng(3).uniform(size=shape))
    seen = 3.0 if options.get("embedding") == "positional" else 0.7
    close(apply(network, jnp.asarray(seen), x), plain(seen, x), 1e-10)


def test_a_plain_network_agrees(x64, key):
    """On an image that is not square, with what the paper's network has."""
    check_against_numpy(key, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_plain_network_agrees_with_all_options(x64, key, name):
    check_against_numpy(key, OPTIONS[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_every_array_has_one_name(key, name):
    """A condition aside, which no published network of this kind has."""
    options = TINY | OPTIONS[name]
    network = eqx.filter_eval_shape(NCSNpp, (8, 8, 3), **options, key=key)
    names = network.state_names()
    names.pop("sigmas")
    found = [id(place.find(network)) for place in names.values()]
    assert len(found) == len(set(found))
    assert set(found) == {id(leaf) for leaf in arrays_of(network)}


def test_what_a_network_sees(key):
    see = lambda make: eqx.filter_eval_shape(make, key=key).sees
    assert see(NCSNpp.cifar10_continuous) == SeesSigma()
    assert see(NCSNpp.celeba64) == SeesLevel(0.01, 90.0, 1000)
    assert see(DDPMpp.cifar10_continuous) == SeesTime(999.0)


@pytest.mark.slow
def test_a_published_network_in_a_denoiser(published):
    """Its score at `t` is the network's output for the noise at `t`."""
    network, vectors = published("ncsnpp")
    process = ss.ve(0.01, 50.0)
    denoiser = ss.Denoiser(network, process, ss.parametrisations.Score())
    x, t = images(vectors["x"])[0], 0.3
    sigma = 0.01 * 5000**t
    got = eqx.filter_jit(denoiser)(t, x)
    expected = x + sigma**2 * apply(network, jnp.asarray(sigma), x)
    close(got, expected, 1e-4)


@pytest.fixture(scope="module")
def small():
    network = DDPMpp(
        (8, 4, 3), **TINY, dropout=0.5, num_classes=5, key=jax.random.key(0)
    )
    return perturbed(network)


x = jnp.asarray(np.random.default_rng(3).standard_normal((8, 4, 3)), jnp.float32)
t = jnp.asarray(4.0)


@pytest.mark.slow
def test_a_label_changes_the_output_and_none_does_not(small):
    alone = apply(small, t, x)
    # Two programs, which may round the same sums differently.
    none = apply(small, t, x, jnp.asarray(-1))
    np.testing.assert_allclose(none, alone, rtol=1e-5, atol=1e-6)
    first, second = (apply(small, t, x, jnp.asarray(label)) for label in (0, 1))
    for pair in ((first, alone), (second, alone), (first, second)):
        assert float(jnp.max(jnp.abs(pair[0] - pair[1]))) > 0.01


@pytest.mark.slow
def test_a_network_without_labels_is_the_same_function(key, small):
    arguments = small.arguments | {"num_classes": None}
    other = DDPMpp(**arguments, key=key)
    other = load_state_dict(other, state_dict(small))
    np.testing.assert_allclose(
        apply(other, t, x), apply(small, t, x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_a_vector_condition_is_linear_in_the_embedding(key):
    """Twice the weights for half the vector are the same network."""
    network = perturbed(DDPMpp((8, 4, 3), **TINY, condition_size=3, key=key))
    double = eqx.tree_at(
        lambda n: n.net.condition.weight, network, replace_fn=lambda w: 2 * w
    )
    vector = jnp.array([0.5, -1.0, 2.0])
    got = apply(double, t, x, vector / 2)
    np.testing.assert_allclose(got, apply(network, t, x, vector), rtol=1e-4, atol=1e-5)
    nothing = apply(network, t, x, jnp.zeros(3))
    np.testing.assert_allclose(nothing, apply(network, t, x), rtol=1e-6)


@pytest.mark.slow
def test_dropout_takes_a_key(small, key):
    one, again = (apply(small, t, x, None, key) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = apply(small, t, x, None, jax.random.key(1))
    without = apply(small, t, x)
    for a, b in ((one, other), (one, without)):
        assert float(jnp.max(jnp.abs(a - b))) > 0.01


def gradient_of(network, key):
    loss = lambda network: jnp.sum(network(t, x, jnp.asarray(1), key=key) ** 2)
    return eqx.filter_jit(eqx.filter_value_and_grad(loss))(network)


def with_options(network, **changes):
    """The same weights with other options."""
    other = DDPMpp(**network.arguments | changes, key=jax.random.key(5))
    return eqx.tree_at(jax.tree.leaves, other, jax.tree.leaves(network))


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [False, True])
def test_a_loop_over_blocks_is_the_same_function(key, dropout):
    """Also with labels and with masks of dropout, whose keys are the same."""
    options = TINY | dict(blocks_per_level=3, dropout=0.5, channel_multipliers=(1, 1))
    network = perturbed(DDPMpp((8, 4, 3), **options, key=key))
    drawn = key if dropout else None
    expected = apply(network, t, x, None, drawn)
    looped = with_options(network, scan=True)
    np.testing.assert_allclose(
        apply(looped, t, x, None, drawn), expected, rtol=1e-4, atol=1e-5
    )
    # Encoder and decoder hold runs of equal blocks, and each run is traced once.
    count = lambda n: str(jax.make_jaxpr(lambda x: n(t, x))(x)).count("conv_general")
    assert count(looped) < 0.7 * count(network)


@pytest.mark.slow
def test_rematerialisation_changes_nothing(small, key):
    """Values, gradients and dropout masks are the same; the program keeps less."""
    again = with_options(small, remat=True)
    value, gradient = gradient_of(small, key)
    same, same_gradient = gradient_of(again, key)
    np.testing.assert_allclose(same, value, rtol=1e-5)
    gradient, same_gradient = map(jax.tree.leaves, (gradient, same_gradient))
    # Of a bias before a norm the gradient is zero, up to rounding.
    scale = max(float(jnp.max(jnp.abs(a))) for a in gradient)
    for a, b in zip(gradient, same_gradient, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-6 * scale)


@pytest.mark.slow
def test_half_precision_inside_changes_no_dtype(small, key):
    """Output, loss and gradients stay in single precision, and near what they were.

    bfloat16 has 8 bits: an output of some ten layers is right to a few per cent.
    """
    half = with_options(small, compute_dtype="bfloat16")
    got, expected = apply(half, t, x), apply(small, t, x)
    assert got.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((got - expected) ** 2) / jnp.mean(expected**2)))
    # Not exact either: it did compute in half precision.
    assert 1e-4 < error < 0.05
    gradient = eqx.filter_eval_shape(gradient_of, half, key)[1]
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(np.float32)}


def test_norms_and_softmax_stay_in_single_precision(small):
    """Every sum over pixels and every exponential of the half-precision network."""
    network = with_options(small, compute_dtype="bfloat16")
    jaxpr = jax.make_jaxpr(lambda t, x: network(t, x))(t, x)
    found = {"reduce_sum": set(), "exp": set(), "conv_general_dilated": set()}

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                walk(inner)
            name = equation.primitive.name
            if name in found:
                found[name].add(str(equation.outvars[0].aval.dtype))

    walk(jaxpr.jaxpr)
    assert found["reduce_sum"] == {"float32"} and found["exp"] == {"float32"}
    assert found["conv_general_dilated"] == {"bfloat16"}


@pytest.mark.slow
def test_an_image_of_half_precision_is_computed_in_it(small):
    got = apply(small, t, x.astype(jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    expected = np.asarray(apply(small, t, x))
    error = np.asarray(got, np.float32) - expected
    assert np.sqrt(np.mean(error**2) / np.mean(expected**2)) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", [NCSNpp, DDPMpp])
def test_made_again_from_json(key, kind):
    network = kind((8, 8, 1), **TINY, num_classes=3, key=key)
    arguments = json.loads(json.dumps(network.arguments))
    again = kind(**arguments, key=key)
    assert eqx.tree_equal(again, network) and again.arguments == network.arguments


def test_a_model_with_a_network_is_saved(key, tmp_path):
    network = perturbed(NCSNpp((8, 8, 1), **TINY, key=key))
    ss.models.save_network(tmp_path / "network", network)
    assert eqx.tree_equal(ss.models.load_network(tmp_path / "network"), network)


@pytest.mark.slow
def test_a_new_network_predicts_nearly_nothing(key):
    """Its last convolution starts at 1e-10 of a variance."""
    network = DDPMpp((8, 4, 3), **TINY, key=key)
    # The standard deviation of the weights is 1e-5 of that of other layers.
    assert float(jnp.max(jnp.abs(apply(network, t, x)))) < 1e-4


MISTAKES = [
    (dict(block="resnet"), r"`block='resnet'`; expected one of 'biggan', 'ddpm'"),
    (dict(progressive="skip"), r"`progressive='skip'`; expected one of 'none', 'out"),
    (dict(progressive_input="cat"), r"`progressive_input='cat'`; expected one of"),
    (dict(progressive_combine="mean"), r"`progressive_combine='mean'`; expected"),
    (dict(embedding="learnt"), r"`embedding='learnt'`; expected one of 'fourier'"),
    (dict(activation="gelu"), r"`activation='gelu'`; expected one of 'swish'"),
    (dict(compute_dtype="float16"), r"`compute_dtype='float16'`; expected one of"),
    (dict(fir=(1, 2, 1)), r"`fir=\(1, 2, 1\)`; expected an even number"),
    (dict(width=0), r"`width=0`; expected a positive number"),
    (dict(channel_multipliers=()), r"`channel_multipliers=\(\)`; expected"),
    (dict(attention_resolutions=(16,)), r"no level has the height 16; .* have 8, 4"),
    (dict(channel_multipliers=(1, 1, 1, 1, 1)), r"must be multiples of 16; got 8x8"),
    (dict(sigma_min=2.0, sigma_max=1.0), r"`sigma_min=2.0` and `sigma_max=1.0`"),
    (dict(conditional=False, num_classes=3), r"`conditional=False` with `num_cl"),
    (dict(num_classes=3, condition_size=2), r"`num_classes=3` and `condition_size"),
    # 10 and 20 channels have 2 and 5 groups; a merge of 30 would have 30 // 4 = 7.
    (dict(width=10), r"a group norm of 30 channels has"),
]


@pytest.mark.parametrize("options, message", MISTAKES)
def test_mistakes_are_named(key, options, message):
    with pytest.raises(ValueError, match=message):
        NCSNpp((8, 8, 3), **TINY | options, key=key)


def test_an_image_of_another_shape_is_refused(small):
    with pytest.raises(ValueError, match=r"this DDPMpp was made for .*\(8, 4, 3\)"):
        small(t, jnp.zeros((4, 8, 3)))
    with pytest.raises(ValueError, match=r"`NCSNpp` got `shape=\(8, 8\)`"):
        NCSNpp((8, 8), key=jax.random.key(0))


def test_an_unconditional_network_refuses_a_label(key):
    network = DDPMpp((8, 4, 3), **TINY, key=key)
    with pytest.raises(ValueError, match="this DDPMpp was made without conditions"):
        network(t, x, jnp.asarray(1))
