"""idx files: what is written comes back, and nothing damaged gets through."""

import numpy as np
import pytest

import softsde as ss

IMAGES = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
LABELS = np.array([4, 9], np.uint8)


@pytest.mark.parametrize("zipped", [False, True])
def test_round_trip(write_idx, zipped):
    # The names say nothing of gzip: it is recognised by content.
    images = write_idx("images", IMAGES, zipped=zipped)
    labels = write_idx("labels", LABELS, zipped=zipped)
    source = ss.data.IdxSource(images, labels)
    assert len(source) == 2
    assert source.shape == (3, 5, 1)
    for i in range(2):
        item = source[i]
        assert item["image"].dtype == np.uint8
        np.testing.assert_array_equal(item["image"], IMAGES[i][..., None])
        assert item["label"] == LABELS[i]
        assert type(item["label"]) is int
    np.testing.assert_array_equal(source[-1]["image"], source[1]["image"])
    with pytest.raises(IndexError, match="outside a source of 2"):
        source[2]


def test_without_labels(write_idx):
    source = ss.data.IdxSource(write_idx("images", IMAGES))
    assert [source[i]["label"] for i in range(2)] == [-1, -1]


def test_images_cannot_be_written_to(write_idx):
    source = ss.data.IdxSource(write_idx("images", IMAGES))
    with pytest.raises(ValueError, match="read-only"):
        source[0]["image"][:] = 0


def _idx(magic, *sizes, body=b""):
    return bytes.fromhex(magic) + b"".join(s.to_bytes(4, "big") for s in sizes) + body


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "truncated: its header has 0 bytes of 16"),
        (b"\x00\x00\x08", "truncated: its header has 3 bytes of 16"),
        (_idx("00000803", 2, 3), "truncated: its header has 12 bytes of 16"),
        (_idx("00000803", 2, 3, 5, body=b"x" * 29), "truncated.*needs 30.*found 29"),
        (_idx("00000803", 2, 3, 5, body=b"x" * 31), "longer than its header says"),
        (_idx("00000803", 0, 28, 28), r"is empty: .*\(0, 28, 28\)"),
        (_idx("00000801", 2, body=b"xx"), r"holds labels \(idx1\).*swapped"),
        (_idx("00000802", 2, 1, body=b"xx"), "holds an array of rank 2"),
        (_idx("00000d03", 1, 1, 1, body=b"xxxx"), "type 0x0d; only uint8"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "not an idx file: it starts with 89504e47"),
        # A header that promises 2^96 bytes must not be believed.
        (_idx("00000803", *[2**32 - 1] * 3, body=b"x" * 9), "truncated.*found 9"),
    ],
)
def test_damaged_images(write_idx, content, message, zipped):
    path = write_idx("bad-images", content, zipped=zipped)
    with pytest.raises(ValueError, match=message) as caught:
        ss.data.IdxSource(path)
    assert str(path) in str(caught.value)


def test_every_truncation_of_a_gzip_file_is_refused(write_idx):
    path = write_idx("images.gz", IMAGES, zipped=True)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"images\.gz"):
            ss.data.IdxSource(path)


def test_a_flipped_bit_in_a_gzip_file_is_refused(write_idx):
    path = write_idx("images.gz", IMAGES, zipped=True)
    whole = path.read_bytes()
    # Beyond the gzip header, whose time stamp and flags are not under the checksum.
    for position in range(10, len(whole)):
        path.write_bytes(
            whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        )
        with pytest.raises(ValueError, match=r"images\.gz"):
            ss.data.IdxSource(path)


def test_images_and_labels_must_match(write_idx):
    images = write_idx("images", IMAGES)
    with pytest.raises(ValueError, match=r"2 images need labels.*got \(3,\)"):
        ss.data.IdxSource(images, write_idx("labels", np.array([1, 2, 3])))
    with pytest.raises(ValueError, match=r"holds images \(idx3\).*swapped"):
        ss.data.IdxSource(images, images)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\].*got \[4, 9\]"):
        ss.data.IdxSource(
            images, write_idx("labels", LABELS), class_names=["a", "b", "c"]
        )


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ss.data.IdxSource(tmp_path / "nowhere")
