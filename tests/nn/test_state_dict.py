"""Published state dicts: round trips, and what is said of those that do not fit."""

import equinox as eqx
import jax
import numpy as np
import pytest

from softsde.nn import DDPMpp, UNet, load_state_dict, state_dict


@pytest.fixture(scope="module")
def network():
    return DDPMpp(
        (8, 8, 3),
        width=8,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        attention_resolutions=(),
        key=jax.random.key(0),
    )


@pytest.fixture
def state(network):
    """Random numbers in the place of the network's."""
    rng = np.random.default_rng(0)
    state = state_dict(network)
    drawn = {n: rng.standard_normal(a.shape).astype(a.dtype) for n, a in state.items()}
    return drawn | {"sigmas": state["sigmas"]}


def test_there_and_back(network, state):
    again = state_dict(load_state_dict(network, state))
    assert list(again) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(again[name], array)


def test_layouts_are_pytorchs(network, state):
    """`(out, in, rows, columns)` and `(out, in)` there, channels last here."""
    net = load_state_dict(network, state).net
    kernel = state["all_modules.2.weight"]
    assert kernel.shape == (8, 3, 3, 3)
    assert net.stem.weight[0, 2, 1, 7] == kernel[7, 1, 0, 2]
    assert net.dense[0].weight[3, 5] == state["all_modules.0.weight"][5, 3]
    block = net.encoder[0].stages[0].block
    assert (
        block.conv1.weight[2, 1, 6, 4]
        == state["all_modules.3.Conv_0.weight"][4, 6, 2, 1]
    )
    down = net.encoder[0].down
    assert (
        down.shortcut.weight[1, 6] == state["all_modules.4.Conv_2.weight"][6, 1, 0, 0]
    )
    attention = net.middle[0].attention
    assert attention.value.weight[1, 2] == state["all_modules.7.NIN_2.W"][1, 2]


@pytest.mark.slow
def test_a_prefix_and_other_dtypes(network, state):
    given = {
        f"module.{name}": array.astype(np.float64) for name, array in state.items()
    }
    loaded = load_state_dict(network, given, prefix="module.")
    assert eqx.tree_equal(loaded, load_state_dict(network, state))


def test_what_does_not_fit_is_named(network, state):
    with pytest.raises(
        ValueError, match=r"missing: sigmas, all_.* more; left over: module"
    ):
        load_state_dict(network, {f"module.{n}": a for n, a in state.items()})
    del state["all_modules.1.bias"]
    with pytest.raises(
        ValueError, match=r"this `DDPMpp`: missing: all_modules.1.bias\."
    ):
        load_state_dict(network, state)
    state["all_modules.1.scale"] = np.zeros(3)
    state["all_modules.2.weight"] = np.zeros((3, 3, 3, 8))
    message = (
        r"missing: all_modules.1.bias; left over: all_modules.1.scale; misshapen: "
        r"all_modules.2.weight of shape \(3, 3, 3, 8\) where \(8, 3, 3, 3\) is expected"
    )
    with pytest.raises(ValueError, match=message):
        load_state_dict(network, state)


def test_levels_of_another_configuration_are_refused(network, state):
    state["sigmas"] = 2 * state["sigmas"]
    with pytest.raises(
        ValueError, match=r"sigmas runs from 100 to 0.02, and .* give 50 to"
    ):
        load_state_dict(network, state)


def test_a_network_without_an_original_is_refused(key, as_a_user):
    network = UNet((8, 8, 1), base_channels=8, key=key)
    for function in (state_dict, lambda n: load_state_dict(n, {})):
        with pytest.raises(TypeError, match="`UNet` has no published original"):
            function(network)
