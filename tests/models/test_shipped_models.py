"""The models that come with the package."""

import pathlib

import fsspec
import numpy as np
import pytest

import softsde as ss
from softsde import models

SHIPPED = pathlib.Path(models.__file__).parent / "shipped"


def test_names():
    assert models.names() == ["fashion_mnist_blur"]
    assert models.network_names() == ["classifier_fashion_mnist"]
    with pytest.raises(FileNotFoundError, match=r"bare network|does not exist"):
        models.load("classifier_fashion_mnist")


def test_each_has_a_readme_that_names_it():
    for name in [*models.names(), *models.network_names()]:
        text = (SHIPPED / name / "README.md").read_text()
        assert text.startswith(f"# {name}\n") and f'"{name}"' in text


def test_weights_are_small_enough_for_a_package():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 8 * 2**20


def test_the_model_is_what_its_card_says():
    model, card = (
        models.load("fashion_mnist_blur"),
        models.read_card("fashion_mnist_blur"),
    )
    assert model.card == card
    assert type(model.process.corruption) is ss.corruptions.GaussianBlur
    assert list(model.process.corruption.structure.shape) == card["shape"]
    assert f"{card['parameters']:,} parameters" in repr(model)
    assert float(model.process.level(1.0)) == card["config"]["process"]["max_blur"]
    assert model.prior.time == model.process.t1


def test_the_classifier_is_what_its_card_says():
    classifier = models.load_network("classifier_fashion_mnist")
    card = models.read_card("classifier_fashion_mnist")
    assert isinstance(classifier, ss.nn.Classifier)
    assert list(classifier.shape) == card["shape"]
    assert classifier.arguments["num_classes"] == card["num_classes"]


def test_a_folder_of_the_same_name(tmp_path, monkeypatch):
    """Never another model than the one that is meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion_mnist_blur").mkdir()
    models.load("fashion_mnist_blur")  # not a model folder
    model = models.load("fashion_mnist_blur")
    other = models.Model(model.denoiser, None, {"mine": True})
    other.save("fashion_mnist_blur")
    with pytest.raises(ValueError, match="also a folder here"):
        models.load("fashion_mnist_blur")
    assert models.load("./fashion_mnist_blur").card == {"mine": True}
    assert models.load(pathlib.Path("fashion_mnist_blur")).card == {"mine": True}


@pytest.mark.slow
def test_samples_are_garments():
    """The shipped classifier recognises what the shipped model draws."""
    import jax

    drawn = models.load("fashion_mnist_blur").sample(64, steps=40)
    assert drawn.shape == (64, 28, 28, 1) and drawn.dtype == np.float32
    classifier = models.load_network("classifier_fashion_mnist")
    sure = jax.nn.softmax(jax.vmap(classifier)(drawn)).max(axis=1)
    noise = jax.random.uniform(jax.random.key(0), drawn.shape)
    unsure = jax.nn.softmax(jax.vmap(classifier)(noise)).max(axis=1)
    assert float(sure.mean()) > 0.8, (sure.mean(), unsure.mean())


def test_a_model_is_read_from_an_address(tmp_path):
    ss.load("fashion_mnist_blur").save(tmp_path / "model")
    files = fsspec.filesystem("memory")
    for path in (tmp_path / "model").iterdir():
        files.pipe_file(f"/bucket/model/{path.name}", path.read_bytes())
    found = ss.load("memory://bucket/model")
    assert found.card == ss.load("fashion_mnist_blur").card
    with pytest.raises(FileNotFoundError, match="holds no model"):
        ss.load("memory://bucket/nothing")
    with pytest.raises(ValueError, match="fsspec"):
        ss.load("nowhere://bucket/model")
