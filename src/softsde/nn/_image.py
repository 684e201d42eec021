"""Checks of the shape of an image."""

from collections.abc import Sequence

from jaxtyping import Array


def image_shape(owner: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as a tuple of three numbers; JSON, for one, has it as a list."""
    if len(shape) != 3:
        raise ValueError(
            f"`{owner}` got `shape={tuple(shape)}`; expected `(height, width, "
            "channels)`, such as `(28, 28, 1)`."
        )
    height, width, channels = (int(number) for number in shape)
    return height, width, channels


def check_image(owner: str, x: Array, shape: tuple[int, int, int]) -> None:
    """Refuses an image of another shape than the network was made for.

    **Raises:** `ValueError`.
    """
    if x.shape != shape:
        raise ValueError(
            f"this {owner} was made for images of shape {shape}; got {x.shape}. The "
            "call is unbatched: use `jax.vmap` for a batch."
        )
