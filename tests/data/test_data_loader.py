"""The stream: every image once an epoch, and the same batches after any interruption.

Sources here hold images that spell their own index, so that a batch says which images
it is made of, and a label that has lost its image is noticed.
"""

import itertools
import json
import math

import grain
import numpy as np
import pytest

import softsde as ss


def _source(n):
    index = np.arange(n)
    images = np.zeros((n, 2, 3, 1), np.uint8)
    images[:, 0, 0, 0] = index % 256
    images[:, 1, 2, 0] = index // 256
    return ss.data.ArraySource(images, index)


def _indices(batch):
    """Reads from the pixels which images a batch holds; the labels must agree."""
    pixels = np.round(batch["image"] * 255).astype(int)
    index = pixels[:, 0, 0, 0] + 256 * pixels[:, 1, 2, 0]
    np.testing.assert_array_equal(index, batch["label"])
    return index.tolist()


def _take(loader, count):
    return [_indices(batch) for batch in itertools.islice(loader, count)]


def test_batches_are_float_images_and_int_labels():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
    labels = np.arange(40)
    source = ss.data.ArraySource(images, labels)
    for batch in ss.data.make_loader(source, 8, repeat=False):
        assert batch["image"].dtype == np.float32
        assert batch["label"].dtype == np.int32
        np.testing.assert_array_equal(
            batch["image"], images[batch["label"]].astype(np.float32) / np.float32(255)
        )


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("n, batch_size", [(12, 4), (10, 3), (7, 7), (5, 1), (300, 64)])
def test_every_image_once_an_epoch(n, batch_size, num_threads):
    epochs = 5
    loader = ss.data.make_loader(_source(n), batch_size, num_threads=num_threads)
    batches = _take(loader, math.ceil(epochs * n / batch_size))
    assert {len(batch) for batch in batches} == {batch_size}
    stream = list(itertools.chain(*batches))
    permutations = [tuple(stream[e * n : (e + 1) * n]) for e in range(epochs)]
    for permutation in permutations:
        assert sorted(permutation) == list(range(n))
    assert len(set(permutations)) == epochs


def test_permutations_are_uniform():
    """Each of 5 images is at each of 5 places in a fifth of 600 epochs."""
    loader = ss.data.make_loader(_source(5), 5, seed=1)
    counts = np.zeros((5, 5))
    for batch in _take(loader, 600):
        counts[np.arange(5), batch] += 1
    # A binomial count of 600 at 1/5 has standard deviation 9.8; 25 of them stay within
    # 4 of those.
    assert np.abs(counts - 120).max() < 4 * math.sqrt(600 * 0.2 * 0.8)


def test_the_seed_and_nothing_else_fixes_the_stream():
    def stream(seed):
        return _take(ss.data.make_loader(_source(50), 10, seed=seed), 20)

    assert stream(3) == stream(3)
    assert stream(3) != stream(4)
    # Neighbouring seeds must not be the same epochs moved by one.
    first, second = np.ravel(stream(3)), np.ravel(stream(4))
    for epoch in range(3):
        this, that = slice(50 * (epoch + 1), 50 * (epoch + 2)), slice(0, 50)
        assert not np.array_equal(first[this], second[that])
        assert not np.array_equal(second[this], first[that])


@pytest.mark.parametrize("num_threads", [0, 2])
def test_resumes_exactly_wherever_it_is_interrupted(num_threads):
    n, batch_size, total = 23, 5, 60  # 13 epochs, whose ends fall within batches
    transforms = [ss.data.RandomFlip()]

    def loader():
        return ss.data.make_loader(
            _source(n),
            batch_size,
            seed=7,
            transforms=transforms,
            num_threads=num_threads,
        )

    truth = list(itertools.islice(loader(), total))
    rng = np.random.default_rng(0)
    for stop in rng.integers(0, total - 1, (12,)):
        iterator = iter(loader())
        for _ in range(stop):
            next(iterator)
        # What a checkpoint keeps is text.
        state = json.loads(json.dumps(iterator.get_state()))
        del iterator
        resumed = iter(loader())
        for _ in range(int(rng.integers(0, 4))):
            next(resumed)  # a started iterator can be set as well
        resumed.set_state(state)
        assert resumed.get_state() == state
        for expected in truth[stop:]:
            batch = next(resumed)
            np.testing.assert_array_equal(batch["image"], expected["image"])
            np.testing.assert_array_equal(batch["label"], expected["label"])


def test_asking_for_the_state_changes_nothing():
    plain = iter(ss.data.make_loader(_source(20), 6))
    asked = iter(ss.data.make_loader(_source(20), 6))
    for _ in range(10):
        asked.get_state()
        assert _indices(next(plain)) == _indices(next(asked))


@pytest.mark.parametrize("process_count", [2, 3, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_share_one_stream(process_count, shuffle):
    """The global batch is the same for any number of processes, flips included."""
    options = {"seed": 5, "shuffle": shuffle, "transforms": [ss.data.RandomFlip()]}
    whole = ss.data.make_loader(_source(30), 12, **options)
    shares = [
        ss.data.make_loader(
            _source(30),
            12,
            process_index=i,
            process_count=process_count,
            **options,
        )
        for i in range(process_count)
    ]
    iterators = [iter(share) for share in shares]
    for batch in itertools.islice(whole, 11):
        shares = [next(iterator) for iterator in iterators]
        for name in ("image", "label"):
            together = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(together, batch[name])


@pytest.mark.parametrize("shuffle", [False, True])
def test_one_epoch(shuffle):
    source = _source(10)
    options = {"repeat": False, "shuffle": shuffle}
    kept = _take(ss.data.make_loader(source, 4, drop_remainder=False, **options), 99)
    assert [len(batch) for batch in kept] == [4, 4, 2]
    assert sorted(itertools.chain(*kept)) == list(range(10))
    assert (list(itertools.chain(*kept)) == list(range(10))) is not shuffle
    dropped = _take(ss.data.make_loader(source, 4, **options), 99)
    assert dropped == kept[:2]


def test_processes_get_equally_many_batches():
    """9 images for 2 processes: one would have a fifth batch of 1."""
    shares = [
        _take(
            ss.data.make_loader(
                _source(9), 2, repeat=False, process_index=i, process_count=2
            ),
            99,
        )
        for i in range(2)
    ]
    assert [len(share) for share in shares] == [4, 4]
    assert len(set(np.ravel(shares))) == 8


def test_bytes_are_the_same_images():
    """They are a quarter of the size, and the device divides them by 255."""
    options = {"seed": 3, "transforms": [ss.data.RandomFlip()]}
    floats = iter(ss.data.make_loader(_source(20), 6, **options))
    for batch in itertools.islice(
        ss.data.make_loader(_source(20), 6, dtype="uint8", **options), 5
    ):
        assert batch["image"].dtype == np.uint8
        expected = next(floats)["image"]
        np.testing.assert_array_equal(batch["image"] / np.float32(255), expected)


def test_bytes_cannot_be_made_of_floats():
    with pytest.raises(TypeError, match=r"give uint8 images, got float32.*`Resize`"):
        ss.data.make_loader(
            _source(10), 2, dtype="uint8", transforms=[ss.data.Resize(2)]
        )


def test_without_shuffling_the_order_is_the_source_s():
    loader = ss.data.make_loader(_source(5), 3, shuffle=False)
    assert _take(loader, 5) == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1], [2, 3, 4]]


def test_a_batch_larger_than_the_data_set_is_possible_when_asked_for():
    loader = ss.data.make_loader(_source(3), 7, drop_remainder=False)
    stream = np.ravel(_take(loader, 3))
    for epoch in range(7):
        assert sorted(stream[3 * epoch : 3 * epoch + 3]) == [0, 1, 2]


def test_transforms_run_in_order_and_may_be_functions():
    def darken(element):
        return {**element, "image": element["image"] // 2}

    images = np.full((4, 2, 2, 1), 200, np.uint8)
    loader = ss.data.make_loader(
        ss.data.ArraySource(images),
        4,
        transforms=[ss.data.Pad(4, fill=1.0), darken],
    )
    image = next(iter(loader))["image"][0, :, :, 0] * 255
    assert image[0, 0] == 127
    assert image[1, 1] == 100


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"batch_size": 11}, "batch of 11 .* more than the 10 images.*drop_remainder"),
        (
            {"batch_size": 12, "process_count": 3},
            "batch of 12 is more than the 10 images.*`batch_size=9` or less",
        ),
        (
            {"batch_size": 6, "process_count": 4},
            "batch of 6 images cannot be shared out evenly to 4 processes.*such as 8",
        ),
        ({"batch_size": 2, "dtype": "int8"}, "'float32' or 'uint8', got 'int8'"),
        ({"batch_size": 2, "process_index": 1}, r"got 1 of 1"),
        ({"batch_size": 2, "process_index": -1, "process_count": 2}, r"got -1 of 2"),
        ({"batch_size": 2, "seed": -1}, "`seed` must be in"),
        ({"batch_size": 2, "num_threads": -1}, "`num_threads` must be at least 0"),
    ],
)
def test_bad_arguments(options, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        ss.data.make_loader(_source(10), **options)


class _Bad(ss.data.AbstractSource):
    """A source of one's own that gives what it is told to."""

    labels = np.zeros((4,), np.int32)
    class_names = None
    shape = (2, 2, 1)

    def __init__(self, item):
        self.given = item

    def __len__(self):
        return 4

    def item(self, index):
        return self.given


@pytest.mark.parametrize(
    "item, error, message",
    [
        ({"image": np.zeros((2, 2, 1), np.uint8)}, TypeError, r"keys \['image'\]"),
        (
            {"image": np.zeros((2, 2), np.uint8), "label": 0},
            TypeError,
            r"got uint8 of shape \(2, 2\)",
        ),
        (
            {"image": np.zeros((2, 2, 1)), "label": 0},
            TypeError,
            r"got float64 of shape \(2, 2, 1\)",
        ),
        (
            {"image": np.full((2, 2, 1), 255, np.float32), "label": 0},
            ValueError,
            r"must be in \[0, 1\], got \[255, 255\]",
        ),
        (
            {"image": np.full((2, 2, 1), np.nan, np.float32), "label": 0},
            ValueError,
            "got .nan, nan",
        ),
    ],
)
def test_bad_items_are_refused_before_the_first_batch(item, error, message):
    with pytest.raises(error, match=message):
        ss.data.make_loader(_Bad(item), 2)


def test_transforms_that_forget_the_label_are_refused():
    source = ss.data.ArraySource(np.zeros((4, 2, 2), np.uint8))
    with pytest.raises(TypeError, match="got ndarray"):
        ss.data.make_loader(source, 2, transforms=[lambda element: element["image"]])
    with pytest.raises(TypeError, match="got NoneType"):
        ss.data.make_loader(source, 2, transforms=[lambda element: None])


def test_bad_transforms_are_refused_before_the_first_batch():
    def to_255(element):
        return {**element, "image": element["image"].astype(np.float32)}

    images = np.full((4, 2, 2), 200, np.uint8)
    with pytest.raises(ValueError, match=r"got \[200, 200\] from the source and trans"):
        ss.data.make_loader(ss.data.ArraySource(images), 2, transforms=[to_255])


def test_grain_transforms_can_be_mixed_in():
    class Label(grain.transforms.Map):
        def map(self, element):
            return {**element, "label": element["label"] + 100}

    loader = ss.data.make_loader(
        ss.data.ArraySource(np.zeros((4, 2, 2), np.uint8), np.arange(4)),
        4,
        transforms=[Label()],
    )
    assert sorted(next(iter(loader))["label"]) == [100, 101, 102, 103]
