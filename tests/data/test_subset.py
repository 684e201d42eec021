"""Splits by content, subsets, and surveys of folders."""

import hashlib

import numpy as np
import pytest

import softsde as ss


def _places(images):
    """Each image's hash as a number in [0, 1), digit by digit."""
    digests = [hashlib.sha256(x.tobytes()).hexdigest()[:12] for x in images]
    return np.array([int(d, 16) / 16**12 for d in digests])


def _images(number):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (number, 4, 4, 1), dtype=np.uint8)


def test_an_image_is_held_out_by_its_hash():
    images = _images(400)
    source = ss.data.ArraySource(images, np.arange(400) % 7)
    training, test = ss.data.held_out(source, 0.25)
    out = _places(images) < 0.25
    np.testing.assert_array_equal(test.indices, np.flatnonzero(out))
    np.testing.assert_array_equal(training.indices, np.flatnonzero(~out))
    np.testing.assert_array_equal(test.labels, source.labels[out])
    np.testing.assert_array_equal(
        ss.data.to_array(test), (images[out] / 255).astype(np.float32)
    )
    assert test.num_classes == training.num_classes == 7
    # Four standard deviations of a binomial.
    assert abs(len(test) - 100) < 4 * np.sqrt(400 * 0.25 * 0.75)


def test_an_image_stays_on_its_side_and_copies_stay_together():
    images = _images(100)
    doubled = np.concatenate([images[::-1], images[:50]])
    before = ss.data.held_out(ss.data.ArraySource(images), 0.3)
    after = ss.data.held_out(ss.data.ArraySource(doubled), 0.3)
    for old, new in zip(before, after, strict=True):
        contents = [
            {s[i]["image"].tobytes() for i in range(len(s))} for s in (old, new)
        ]
        assert contents[0] == contents[1]


def test_shares_and_indices_that_will_not_do():
    source = ss.data.ArraySource(_images(5))
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="`share` must be in"):
            ss.data.held_out(source, share)
    with pytest.raises(ValueError, match="0 would be held out with `share=1e-09`"):
        ss.data.held_out(source, 1e-9)
    with pytest.raises(ValueError, match="No image"):
        ss.data.Subset(source, [])
    with pytest.raises(ValueError, match=r"must be in \[0, 5\), got \[2, 5\]"):
        ss.data.Subset(source, [2, 5])


def test_survey_counts_sizes_colours_and_folders(tmp_path):
    image_module = pytest.importorskip("PIL.Image")

    def picture(name, mode, size, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_module.new(mode, size).save(path, **options)

    picture("cat/a.png", "L", (6, 4))
    picture("cat/b.png", "L", (6, 4))
    turned = image_module.Exif()
    turned[0x0112] = 6
    picture("Train/a.jpg", "L", (4, 6), exif=turned)
    found = ss.data.survey(tmp_path)
    assert found.pictures == 3
    # The turned one is as wide as the others.
    assert found.sizes == {(4, 6): 3}
    assert found.side is None and found.channels == 1
    assert found.folders == ("Train", "cat") and found.splits == ("Train",)
    picture("a.png", "RGBA", (5, 5))
    assert ss.data.survey(tmp_path).channels == 3
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad\.png cannot be read as a picture"):
        ss.data.survey(tmp_path)
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        ss.data.survey(tmp_path / "nowhere")


def test_a_share_of_each_class_stays():
    labels = np.array([0, 1, 2, -1] * 50)
    source = ss.data.ArraySource(_images(200), labels, class_names=("a", "b", "c"))
    thin = ss.data.unbalanced(source, [1.0, 0.3, 0.0])
    assert np.bincount(thin.labels + 1, minlength=4).tolist() == [50, 50, 15, 0]
    assert thin.num_classes == 3 and thin.class_names == ("a", "b", "c")
    # In their order, each once, and spread over the class.
    assert np.all(np.diff(thin.indices) > 0)
    ones = thin.indices[thin.labels == 1]
    assert ones[0] == 1 and ones[-1] == 197 and np.diff(ones).max() <= 16
    for place in (0, 40, len(thin) - 1):
        np.testing.assert_array_equal(
            thin[place]["image"], source[int(thin.indices[place])]["image"]
        )


def test_shares_that_do_not_fit_are_refused():
    source = ss.data.ArraySource(_images(20), np.arange(20) % 2)
    with pytest.raises(ValueError, match=r"got 3 shares; .* has 2 classes"):
        ss.data.unbalanced(source, [1, 1, 1])
    with pytest.raises(ValueError, match=r"shares \[1, 1.5\]; expected 0 to 1"):
        ss.data.unbalanced(source, [1, 1.5])
    with pytest.raises(ValueError, match="No image"):
        ss.data.unbalanced(source, [0, 0])
    with pytest.raises(ValueError, match="has 0 classes"):
        ss.data.unbalanced(ss.data.ArraySource(_images(20)), [1])
