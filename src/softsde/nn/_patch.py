"""Trading resolution for channels and back, without loss."""

from jaxtyping import Array, Float


def patchify(
    x: Float[Array, "height width channels"], size: int
) -> Float[Array, "rows columns features"]:
    """Space to depth: every `size x size` patch of pixels becomes one pixel.

    `y[i, j, (a size + b) c + k] = x[i size + a, j size + b, k]`

    **Arguments:**

    - `x`: an image whose height and width are multiples of `size`.
    - `size`: side of a patch.

    **Returns:** an image of `size**2` times as many channels.
    """
    height, width, channels = x.shape
    if height % size or width % size:
        raise ValueError(
            f"an image of {height}x{width} does not divide into {size}x{size} patches; "
            f"pad or crop it to multiples of {size}."
        )
    x = x.reshape(height // size, size, width // size, size, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(height // size, width // size, -1)


def unpatchify(
    x: Float[Array, "rows columns features"], size: int
) -> Float[Array, "height width channels"]:
    """Depth to space, the inverse of [`softsde.nn.patchify`][].

    **Arguments:**

    - `x`: an image whose number of channels is a multiple of `size**2`.
    - `size`: side of a patch.

    **Returns:** an image of `size` times the height and the width.
    """
    rows, columns, features = x.shape
    if features % size**2:
        raise ValueError(
            f"{features} channels do not make {size}x{size} patches; their number must "
            f"be a multiple of {size**2}."
        )
    x = x.reshape(rows, columns, size, size, -1)
    return x.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, -1)
