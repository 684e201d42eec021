"""The classifier that measures samples: trained, found, and read back."""

import json

import jax
import numpy as np
import pytest

import softsde as ss
from experiments import _images, classifier
from experiments._errors import FolderError


def test_a_classifier_of_other_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ss.nn.Classifier((8, 8, 1), num_classes=2, key=jax.random.key(0))
    name = f"classifier_{_images.data_name('a/images.npz')}"
    card = {"source": "a/images.npz"}
    ss.models.save_network(tmp_path / "runs" / name, network, card)
    assert classifier.find("a/images.npz") == f"runs/{name}"
    # Another file of the same name has another folder.
    with pytest.raises(FolderError, match=r"no classifier of b/images\.npz"):
        classifier.find("b/images.npz")
    ss.models.save_network(tmp_path / "runs" / name, network, {"source": "c.npz"})
    with pytest.raises(FolderError, match=r"trained on c\.npz"):
        classifier.find("a/images.npz")
    assert classifier.find("fashion_mnist") == "classifier_fashion_mnist"


@pytest.mark.slow
def test_classifier_beats_linear_regression_and_is_read_back(tmp_path):
    command = classifier.Train(
        "digits", folder=tmp_path, epochs=12, batch_size=64, widths=(16, 32)
    )
    folder, card = classifier.train(command)
    network, read = classifier.load(str(folder))
    assert read == json.loads(json.dumps(card))
    images, labels, test_images, test_labels = (
        get(ss.data.digits(split))
        for split in ("train", "test")
        for get in (ss.data.to_array, ss.data.to_labels)
    )
    logits = ss.metrics.extract_features(network, test_images)
    accuracy = np.mean(logits.argmax(axis=1) == test_labels)
    assert accuracy == card["test_accuracy"]
    pixels, test_pixels = images.reshape(-1, 64), test_images.reshape(-1, 64)
    weights = np.linalg.lstsq(pixels, np.eye(10)[labels], rcond=None)[0]
    linear = np.mean((test_pixels @ weights).argmax(axis=1) == test_labels)
    assert accuracy > linear + 0.01


def test_shift_moves_an_image_and_loses_nothing_inside():
    image = np.zeros((9, 9, 1), np.float32)
    image[4, 4] = 1
    rng = np.random.default_rng(0)
    places = set()
    for _ in range(400):
        moved = classifier.Shift(1).random_map({"image": image}, rng)["image"]
        assert moved.shape == image.shape and moved.sum() == 1
        places.add(tuple(int(i) for i in np.argwhere(moved[..., 0])[0]))
    assert places == {(y, x) for y in (3, 4, 5) for x in (3, 4, 5)}
