"""The options of the published configurations of NCSN++ and DDPM++, as data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ._resample import check_fir
from ._score_block import ACTIVATIONS
from ._sees import AbstractSees, SeesLevel, SeesSigma, SeesTime

_CHOICES = {
    "block": ("biggan", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "embedding": ("fourier", "positional"),
    "activation": tuple(ACTIVATIONS),
    "compute_dtype": (None, "float32", "bfloat16"),
}


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """The options of a network of the family.

    The arguments of [`softsde.nn.NCSNpp`][] say what each does.
    """

    width: int
    channel_multipliers: tuple[int, ...]
    blocks_per_level: int
    attention_resolutions: tuple[int, ...]
    block: str
    fir: tuple[float | int, ...] | None
    resample_with_conv: bool
    progressive: str
    progressive_input: str
    progressive_combine: str
    embedding: str
    fourier_scale: float
    conditional: bool
    scale_by_sigma: bool
    sigma_min: float
    sigma_max: float
    num_scales: int
    centered: bool
    skip_rescale: bool
    init_scale: float
    activation: str
    dropout: float
    num_classes: int | None
    condition_size: int | None
    compute_dtype: str | None
    remat: bool
    scan: bool

    def check(self, owner: str, shape: tuple[int, int, int]) -> None:
        """Refuses options that no network has.

        **Raises:** `ValueError`, naming the option, what was got and what is expected.
        """
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"`{owner}` got `{name}={value!r}`; expected one of "
                    f"{', '.join(map(repr, choices))}."
                )
        check_fir(owner, self.fir)
        for name in ("width", "blocks_per_level", "num_scales"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{owner}` got `{name}={getattr(self, name)}`; expected a "
                    "positive number."
                )
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"`{owner}` got `sigma_min={self.sigma_min}` and `sigma_max="
                f"{self.sigma_max}`; expected 0 < sigma_min < sigma_max."
            )
        told = self.num_classes is not None or self.condition_size is not None
        if told and not self.conditional:
            raise ValueError(
                f"`{owner}` got `conditional=False` with `num_classes` or "
                "`condition_size`; a condition is added to the embedding of the time, "
                "which this network has not. Use `conditional=True`."
            )
        check_levels(owner, shape, self.channel_multipliers, self.attention_resolutions)

    def sees(self) -> AbstractSees:
        """The scalar that the network is given as the time, as it was published.

        Networks for noise that explodes see the noise or its level; those for a
        preserved variance, `(num_scales - 1) t`.
        """
        if self.embedding == "fourier":
            return SeesSigma()
        if self.scale_by_sigma:
            return SeesLevel(self.sigma_min, self.sigma_max, self.num_scales)
        return SeesTime(float(self.num_scales - 1))

    def dtype(self, given: jnp.dtype) -> jnp.dtype:
        """The dtype to compute in, for an input of a dtype."""
        return given if self.compute_dtype is None else jnp.dtype(self.compute_dtype)


def small_options(shape: Sequence[int]) -> dict[str, Any]:
    """The options of a network that trains on a laptop, for images of a shape."""
    return {
        "width": 32,
        "channel_multipliers": (1, 2, 2),
        "blocks_per_level": 1,
        "attention_resolutions": (shape[0] // 4,),
        "centered": True,
    }


def check_levels(
    owner: str,
    shape: tuple[int, int, int],
    channel_multipliers: tuple[int, ...],
    attention_resolutions: tuple[int, ...],
) -> None:
    """Refuses levels that an image does not have.

    **Raises:** `ValueError`, with what would do.
    """
    if not channel_multipliers or min(channel_multipliers) < 1:
        raise ValueError(
            f"`{owner}` got `channel_multipliers={channel_multipliers}`; "
            "expected a positive number for each level, such as `(1, 2, 2)`."
        )
    halvings = len(channel_multipliers) - 1
    height, width, _ = shape
    coarsest = 2**halvings
    if height % coarsest or width % coarsest or min(shape) < 1:
        up = [-(-side // coarsest) * coarsest for side in (height, width)]
        raise ValueError(
            f"a `{owner}` of {halvings + 1} levels halves the image {halvings} "
            f"times, so height and width must be multiples of {coarsest}; got "
            f"{height}x{width}. Pad the images to {up[0]}x{up[1]}, or use fewer "
            "`channel_multipliers`."
        )
    heights = [height // 2**level for level in range(halvings + 1)]
    for resolution in attention_resolutions:
        if resolution not in heights:
            raise ValueError(
                f"`{owner}` got `attention_resolutions="
                f"{attention_resolutions}`, and no level has the height "
                f"{resolution}; the levels have {', '.join(map(str, heights))}."
            )
