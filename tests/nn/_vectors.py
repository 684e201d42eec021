"""Makes the data of `tests/nn/data`: outputs of the published code of score_sde.

Small instances with the options of the published configurations, all of whose
parameters are random: the state dict, inputs, and outputs in double precision. The code
is github.com/yang-song/score_sde_pytorch at cb1f359f, run by PyTorch in double
precision from weights in single precision. `python -m tests.nn._vectors FOLDER` makes
the files from a folder with the full vectors.
"""

import json
import pathlib
import sys
from typing import Any

import numpy as np

DATA = pathlib.Path(__file__).parent / "data"
NAMES = {
    "ncsnpp": "a1_ncsnpp_ve_continuous",
    "skips": "b1_ncsnpp_skip_sum_ddpmblock",
    "ddpmpp": "c1_ddpmpp_vp_continuous",
}


def options_of(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network, from a configuration of the published code."""
    model, data = config["model"], config["data"]
    side = data["image_size"]
    return {
        "shape": [side, side, data["num_channels"]],
        "width": model["nf"],
        "channel_multipliers": model["ch_mult"],
        "blocks_per_level": model["num_res_blocks"],
        "attention_resolutions": model["attn_resolutions"],
        "block": model["resblock_type"],
        "fir": model["fir_kernel"] if model["fir"] else None,
        "resample_with_conv": model["resamp_with_conv"],
        "progressive": model["progressive"],
        "progressive_input": model["progressive_input"],
        "progressive_combine": model["progressive_combine"],
        "embedding": model["embedding_type"],
        "fourier_scale": float(model.get("fourier_scale", 16)),
        "conditional": model["conditional"],
        "scale_by_sigma": model["scale_by_sigma"],
        "sigma_min": float(model["sigma_min"]),
        "sigma_max": float(model["sigma_max"]),
        "num_scales": model["num_scales"],
        "centered": data["centered"],
        "skip_rescale": model["skip_rescale"],
        "init_scale": model["init_scale"],
        "activation": model["nonlinearity"],
        "dropout": model["dropout"],
    }


def sigmas(options: dict[str, Any]) -> np.ndarray:
    """The levels that the original keeps beside its weights."""
    ends = np.log(options["sigma_max"]), np.log(options["sigma_min"])
    return np.exp(np.linspace(*ends, options["num_scales"]))


def load(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """Options, state dict, and inputs with outputs, channels first."""
    with np.load(DATA / f"{name}.npz") as file:
        arrays = dict(file)
    options = json.loads(str(arrays.pop("options")))
    vectors = {n: arrays.pop(n) for n in list(arrays) if "." not in n}
    # Bytes of equal weight lie together, so that the file is smaller.
    state = {n: a.T.copy().view(np.float32)[..., 0] for n, a in arrays.items()}
    shapes = json.loads(str(vectors.pop("shapes")))
    state = {n: state[n].reshape(shape) for n, shape in shapes.items()}
    return options, {"sigmas": sigmas(options)} | state, vectors


def write(folder: pathlib.Path) -> None:
    """The files of `tests/nn/data`, from a folder with the full vectors."""
    from safetensors.numpy import load_file

    for name, source in NAMES.items():
        config = json.loads((folder / source / "config.json").read_text())
        state = load_file(folder / source / "weights.safetensors")
        vectors = np.load(folder / source / "vectors.npz")
        planes = {
            n: a.reshape(-1, 1).view(np.uint8).T.copy()
            for n, a in state.items()
            if n != "sigmas"
        }
        kept = ("x", "labels", "y_float64", "x2", "labels2", "y_float642")
        np.savez_compressed(
            DATA / f"{name}.npz",
            options=json.dumps(options_of(config)),
            shapes=json.dumps({n: state[n].shape for n in planes}),
            **{n: vectors[n] for n in kept},
            **planes,
        )
    layers = np.load(folder / "f_layers_sde" / "vectors.npz")
    np.savez_compressed(DATA / "score_layers.npz", **layers)
    shapes = json.loads((folder / "cifar10_ncsnpp_continuous_shapes.json").read_text())
    text = json.dumps(shapes, separators=(",", ":")).replace("],", "],\n")
    (DATA / "cifar10_ncsnpp_continuous_shapes.json").write_text(text + "\n")


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
