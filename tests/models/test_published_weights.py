"""State dicts out of published checkpoints, built from their documented layouts."""

import re

import numpy as np
import pytest
from test_torch_files import module_fields, persistent_module
from torch_writer import WRITERS, Call, plain, tensor

import softsde as ss

# In the order of `state_dict()`: a buffer of the network comes before its layers. The
# frequencies `W` are a parameter that is not trained.
SHAPES = {
    "sigmas": (10,),
    "all_modules.0.W": (4,),
    "all_modules.1.weight": (6, 8),
    "all_modules.1.bias": (6,),
    "all_modules.2.NIN_0.W": (6, 6),
    "all_modules.2.NIN_0.b": (6,),
    "all_modules.2.GroupNorm_0.weight": (6,),
    "all_modules.2.GroupNorm_0.bias": (6,),
}
FIXED = ("sigmas", "all_modules.0.W")


def _draw(seed):
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


MODEL, AVERAGE = _draw(0), _draw(1)
EXPECTED = {name: (MODEL if name in FIXED else AVERAGE)[name] for name in SHAPES}


def _ordered(arrays, prefix="module."):
    pairs = [[prefix + name, tensor(array)] for name, array in arrays.items()]
    return Call("collections.OrderedDict", (pairs,), {"_metadata": {}})


def _score_sde(shadow):
    return {
        "optimizer": {"state": {0: {"step": 7}}, "param_groups": [{"lr": 2e-4}]},
        "model": _ordered(MODEL),
        "ema": {
            "decay": 0.999,
            "num_updates": 7,
            "shadow_params": [tensor(array) for array in shadow],
        },
        "step": 7,
    }


def _shadow():
    return [AVERAGE[name] for name in SHAPES if name not in FIXED]


def _read(tmp_path, content, **options):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    return ss.models.read_torch(path, **options)


def _same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("writer", WRITERS)
def test_score_sde(tmp_path, writer):
    """The averages are a list, in the order of the parameters that are trained."""
    checkpoint = _read(tmp_path, WRITERS[writer](_score_sde(_shadow())))
    _same(ss.models.published_weights(checkpoint), EXPECTED)
    _same(ss.models.published_weights(checkpoint, average=False), MODEL)


def test_ncsnv2_and_ncsn(tmp_path):
    """NCSNv2 averages by name, without the buffers."""
    named = {n: AVERAGE[n] for n in SHAPES if n not in FIXED}
    ema = {name: tensor(array) for name, array in named.items()}
    optimiser = {"state": {}, "param_groups": []}
    checkpoint = [_ordered(MODEL), optimiser, 3, 700, ema]
    found = _read(tmp_path, WRITERS["old"](checkpoint))
    _same(ss.models.published_weights(found), EXPECTED)
    _same(ss.models.published_weights(found, average=False), MODEL)
    found = _read(tmp_path, WRITERS["old"](checkpoint[:2]))
    _same(ss.models.published_weights(found), MODEL)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_edm(tmp_path, dtype):
    """EDM pickles the averaged network with its source; EDM2 in half precision."""
    weight, kernel = (
        np.random.default_rng(i).normal(size=(3, 2)).astype(dtype) for i in (1, 2)
    )
    layer = persistent_module(
        "Conv2d", module_fields({"weight": weight}, {"resample_filter": kernel})
    )
    block = persistent_module("UNetBlock", module_fields(modules={"conv0": layer}))
    parts = Call(
        "torch.nn.modules.container.ModuleDict",
        (),
        module_fields(modules={"8x8_block0": block}),
    )
    model = persistent_module("SongUNet", module_fields(modules={"enc": parts}))
    settings = Call("dnnlib.util.EasyDict", ([["img_resolution", 32]],))
    network = persistent_module(
        "EDMPrecond",
        module_fields(modules={"model": model}, sigma_data=0.5, _init_kwargs=settings),
    )
    checkpoint = {
        "ema": network,
        "loss_fn": persistent_module("EDMLoss", {"P_mean": -1.2}),
        "augment_pipe": None,
        "dataset_kwargs": settings,
    }
    found = _read(tmp_path, plain(checkpoint), inert=True)
    name = "model.enc.8x8_block0.conv0."
    expected = {f"{name}weight": weight, f"{name}resample_filter": kernel}
    _same(ss.models.published_weights(found), expected)
    fields = ss.models.module_fields(found["ema"])
    assert (fields["class_name"], fields["sigma_data"]) == ("EDMPrecond", 0.5)
    assert fields["_init_kwargs"] == {"img_resolution": 32}


def test_bare_state_dicts(tmp_path):
    found = _read(tmp_path, WRITERS["archive"](_ordered(MODEL, "")))
    _same(ss.models.published_weights(found), MODEL)
    found = _read(tmp_path, WRITERS["archive"]({"state_dict": _ordered(MODEL)}))
    _same(ss.models.published_weights(found), MODEL)


def test_what_does_not_fit_is_named():
    weights = ss.models.published_weights
    content = {"model": MODEL, "ema": {"shadow_params": _shadow()[:-1]}}
    with pytest.raises(ValueError, match="average holds 5 arrays, and the model 6"):
        weights(content)
    content["ema"]["shadow_params"] = _shadow()[::-1]
    message = re.escape(
        "has (6,) in the place of all_modules.1.weight, of shape (6, 8)"
    )
    with pytest.raises(ValueError, match=message):
        weights(content)
    with pytest.raises(
        ValueError, match=r"average holds other, which the model has not"
    ):
        weights([MODEL, {}, 0, 0, {"other": AVERAGE["sigmas"]}])
    with pytest.raises(
        ValueError, match=r"a dictionary of 'weights', 'step', which is"
    ):
        weights({"weights": [1], "step": 3})
    with pytest.raises(
        ValueError, match=r"a list of 2 \(int, str\), which is no layout"
    ):
        weights([1, "a"])
