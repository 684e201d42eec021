"""The group norm of the score networks: four channels to a group, at most 32 groups."""

from ._group_norm import GroupNorm


def score_norm(channels: int) -> GroupNorm:
    """A group norm of `min(channels // 4, 32)` groups, with 1e-6 beside the variance.

    **Raises:** `ValueError` where the groups do not divide the channels.
    """
    groups = min(channels // 4, 32)
    if groups == 0 or channels % groups:
        raise ValueError(
            f"a group norm of {channels} channels has min(channels // 4, 32) = "
            f"{groups} groups, which do not divide them. Choose `width` and "
            "`channel_multipliers` such that every number of channels is a multiple of "
            "4 up to 128, and of 32 beyond."
        )
    return GroupNorm(channels, channels // groups, eps=1e-6)
