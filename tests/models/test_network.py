"""Networks: read as they were written, or an error that lists all differences."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import softsde as ss
from softsde import models


class Mixed(eqx.Module):
    """A network of somebody's own, with leaves of every kind."""

    wide: jax.Array
    half: jax.Array
    count: jax.Array
    mask: jax.Array
    key: jax.Array
    table: np.ndarray
    layers: list[eqx.nn.Linear]
    rate: float
    size: int = eqx.field(static=True)

    def __init__(self, size, rate=0.1, *, key):
        self.wide = jax.random.normal(key, (size, 2))
        self.half = jnp.full((2,), 1 / 3, jnp.bfloat16)
        self.count = jnp.arange(size)
        self.mask = jnp.asarray([True, False])
        self.key = key
        self.table = np.arange(3.0)
        self.layers = [eqx.nn.Linear(size, size, key=key)]
        self.rate = rate
        self.size = size

    @property
    def arguments(self):
        return {"size": self.size, "rate": self.rate}


def _equal(a, b):
    def same(x, y):
        if not eqx.is_array(x) and not isinstance(x, np.ndarray):
            return x == y
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        x, y = np.asarray(x), np.asarray(y)
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()

    assert jax.tree.structure(a) == jax.tree.structure(b)
    return all(jax.tree.leaves(jax.tree.map(same, a, b)))


def _cast(network, dtype):
    return jax.tree.map(
        lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, network
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda key: ss.nn.MLP((2, 3), width=8, depth=2, num_classes=4, key=key),
        lambda key: ss.nn.MLP(2, width=8, condition_size=3, key=key),
        lambda key: ss.nn.MLP(2, width=8, fourier_features=3, key=key),
        lambda key: ss.nn.DiT(
            (4, 6, 1), width=8, depth=2, num_heads=2, num_classes=3, key=key
        ),
        lambda key: ss.nn.NCSN((4, 6, 1), base_channels=2, num_levels=3, key=key),
        lambda key: ss.nn.NCSNv2((4, 6, 1), base_channels=2, key=key),
        lambda key: ss.nn.Classifier((8, 8, 1), num_classes=3, widths=(8,), key=key),
    ],
    ids=["labels", "vectors", "features", "dit", "ncsn", "ncsnv2", "classifier"],
)
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("bfloat16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
    ],
)
def test_networks_are_bit_identical(tmp_path, make, dtype, key):
    with jax.enable_x64(dtype == "float64"):
        network = _cast(make(key), dtype)
        models.save_network(tmp_path, network, {"accuracy": 0.5})
        read = models.load_network(tmp_path)
        assert type(read) is type(network)
        assert _equal(read, network)
        assert read.arguments == network.arguments
    assert models.read_card(tmp_path) == {"accuracy": 0.5}


def test_unet_is_bit_identical(tmp_path, key):
    network = ss.nn.UNet(
        (8, 8, 1),
        base_channels=8,
        channel_multipliers=(1, 2),
        attention_levels=[1],
        patch_size=2,
        dropout=0.1,
        num_classes=3,
        key=key,
    )
    models.save_network(tmp_path, network)
    assert _equal(models.load_network(tmp_path), network)
    assert models.read_card(tmp_path) == {}


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_leaves_of_every_kind(tmp_path, implementation):
    network = Mixed(3, rate=0.25, key=jax.random.key(5, impl=implementation))
    network = eqx.tree_at(lambda n: n.table, network, np.asarray([1 / 3, 0.0, 7.0]))
    models.save_network(tmp_path, network)
    with jax.enable_x64(True):
        read = models.load_network(tmp_path, classes=[Mixed])
    assert _equal(read, network)
    with pytest.raises(ValueError, match=r"network.table is float64.*enable_x64"):
        models.load_network(tmp_path, classes=[Mixed])
    with pytest.raises(ValueError, match="has the type 'Mixed', which is not known"):
        models.load_network(tmp_path)


@pytest.mark.slow
def test_sixty_four_bits(tmp_path, x64):
    network = Mixed(3, key=jax.random.key(0))
    network = eqx.tree_at(
        lambda n: (n.wide, n.count),
        network,
        (
            jnp.full((3, 2), 1 / 3, jnp.float64),
            jnp.asarray([2**63 - 1, -(2**63), 0]),
        ),
    )
    models.save_network(tmp_path, network)
    assert _equal(models.load_network(tmp_path, classes=[Mixed]), network)


def test_networks_that_cannot_be_made_again(tmp_path, key):
    linear = eqx.nn.Linear(2, 2, key=key)
    with pytest.raises(
        ValueError, match=r"`Linear`, which does not tell the arguments"
    ):
        models.save_network(tmp_path, linear)
    with pytest.raises(ValueError, match="network is a function, and a function"):
        models.save_network(tmp_path, lambda t, x: x)
    wider = eqx.tree_at(lambda n: n.wide, Mixed(3, key=key), jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"network.wide: floating \[5, 2\], expected"):
        models.save_network(tmp_path, wider)
    # The rate is among the arguments, so a changed one is written.
    faster = eqx.tree_at(lambda n: n.rate, Mixed(3, key=key), 7)
    models.save_network(tmp_path / "same", faster)
    dropout = ss.nn.Classifier((8, 8, 1), num_classes=2, widths=(8,), key=key)
    silent = eqx.nn.inference_mode(dropout)
    with pytest.raises(ValueError, match=r"dropout.inference: True, but False"):
        models.save_network(tmp_path, silent)
    # Nothing was written.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["same"]


def _rewrite(folder, change):
    """Writes changed arrays under their right checksum."""
    import hashlib

    path = folder / "network.safetensors"
    tensors = safetensors.numpy.load(path.read_bytes())
    path.write_bytes(safetensors.numpy.save(change(tensors)))
    about = json.loads((folder / "network.json").read_text())
    about["tensors"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "network.json").write_text(json.dumps(about))


def test_all_differences_are_listed(tmp_path, key):
    models.save_network(tmp_path, ss.nn.MLP(2, width=8, depth=1, key=key))

    def change(tensors):
        tensors["network.other"] = tensors.pop("network.first.weight")
        tensors["network.last.weight"] = np.zeros((3, 8), np.float32)
        tensors["network.last.bias"] = np.zeros(2, np.int32)
        return tensors

    _rewrite(tmp_path, change)
    with pytest.raises(ValueError) as error:
        models.load_network(tmp_path)
    message = str(error.value)
    assert "network.other: left over, floating [2, 8]" in message
    assert "network.first.weight: missing; expected floating [2, 8]" in message
    assert "network.last.weight: floating [3, 8], expected floating [8, 2]" in message
    assert "network.last.bias: integer [2], expected floating [2]" in message
    assert str(tmp_path) in message


def test_arrays_of_something_else(tmp_path, key):
    models.save_network(tmp_path, ss.nn.MLP(2, width=8, depth=1, key=key))
    _rewrite(tmp_path, lambda tensors: tensors | {"prior": np.zeros(2)})
    with pytest.raises(ValueError, match="holds prior that nothing asks for"):
        models.load_network(tmp_path)


def test_names_of_the_wrong_kind(tmp_path, key):
    models.save_network(tmp_path, ss.nn.MLP(2, width=8, depth=1, key=key))
    with pytest.raises(
        FileNotFoundError, match=r"a bare network: use `ss.models.load_n"
    ):
        models.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="classifier_fashion_mnist"):
        models.load_network("no_such_network")
