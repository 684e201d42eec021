"""Feature spaces: the descriptions by which results are told apart."""

import dataclasses

from ._features import AbstractFeatures


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """The description of some features, without their weights.

    The fields are those of [`softsde.metrics.AbstractFeatures`][], and `dim`, the
    number of features.
    """

    name: str
    hash: str
    resize: str
    value_range: tuple[float, float]
    published: tuple[str, ...]
    dim: int

    @classmethod
    def of(cls, features: AbstractFeatures, dim: int) -> "FeatureSpace":
        """The description of `features`, of which there are `dim`."""
        return cls(
            features.name,
            features.hash,
            features.resize,
            features.value_range,
            features.published,
            dim,
        )

    def __str__(self) -> str:
        low, high = self.value_range
        return (
            f"{self.dim:,} features of {self.name} ({self.hash[:8] or 'unknown hash'};"
            f" images in [{low:g}, {high:g}], resize: {self.resize})"
        )
