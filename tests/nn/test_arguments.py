"""Every network can be made again from what it says it was made with."""

import json

import equinox as eqx
import jax
import pytest

from softsde.nn import MLP, Classifier, UNet

NETWORKS = {
    "plain UNet": lambda key: UNet((8, 8, 1), base_channels=8, key=key),
    "UNet of all arguments": lambda key: UNet(
        (8, 12, 2),
        base_channels=8,
        channel_multipliers=[1, 2],
        blocks_per_level=(1, 2),
        attention_levels=(0,),
        middle_attention=True,
        num_heads=2,
        dropout=0.1,
        patch_size=2,
        refine_channels=4,
        positions=True,
        group_size=4,
        num_classes=3,
        key=key,
    ),
    "MLP": lambda key: MLP(3, width=8, depth=2, condition_size=4, key=key),
    "MLP of images": lambda key: MLP((4, 4, 1), width=8, num_classes=4, key=key),
    "Classifier": lambda key: Classifier(
        (8, 8, 1), num_classes=3, widths=(8, 16), num_features=5, dropout=0.2, key=key
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_rebuilt_from_json(key, name):
    network = NETWORKS[name](key)
    arguments = json.loads(json.dumps(network.arguments))
    assert arguments == network.arguments
    again = type(network)(**arguments, key=key)
    assert eqx.tree_equal(again, network)
    assert again.arguments == network.arguments


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_fill_a_rebuilt_network(key, name, tmp_path):
    network = NETWORKS[name](key)
    eqx.tree_serialise_leaves(tmp_path / "weights.eqx", network)
    other = type(network)(**network.arguments, key=jax.random.key(1))
    loaded = eqx.tree_deserialise_leaves(tmp_path / "weights.eqx", other)
    assert eqx.tree_equal(loaded, network)


def test_arguments_are_a_copy(key):
    network = NETWORKS["plain UNet"](key)
    network.arguments["shape"].append(7)
    assert network.arguments["shape"] == [8, 8, 1]


@pytest.mark.parametrize(
    "make", [UNet, lambda *a, **k: Classifier(*a, num_classes=2, **k)]
)
def test_a_shape_has_three_sides(key, make):
    with pytest.raises(ValueError, match=r"`shape=\(8, 8\)`; expected `\(height"):
        make((8, 8), key=key)
