"""A result that says what it is, and that compares only with its like."""

import dataclasses
from typing import Any

from ._space import FeatureSpace

# The names that the literature has for a metric in published features.
_PUBLISHED = {
    "Frechet distance": ("FID", "FD-DINOv2"),
    "kernel distance": ("KID",),
    "classifier score": ("IS",),
}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A metric of some samples, with all that must be said for it to mean anything.

    - `metric`: `"Frechet distance"`, `"recall"`, ...
    - `value`: its value.
    - `interval`: ends of its 95 % interval; `None` if it has none.
    - `settings`: parameters of the metric, in words.
    - `unbiased`: whether the expected value is the same for any number of samples.
    - `space`: the description of the features.
    - `num_samples`, `num_reference`: how many samples and reference images were used.
    - `reference`: hash of the reference statistics.
    - `seed`: seed of the samples, if they have one.

    ```python
    pixels = ss.metrics.PixelFeatures()
    a = ss.metrics.FeatureStatistics.of(pixels, images[:8, :1, :2], blocks=3)
    b = ss.metrics.FeatureStatistics.of(pixels, images[8:, :1, :2], blocks=3)
    print(ss.metrics.measure_frechet(a, b, seed=0))
    ```

    `<`, `>`, `<=`, `>=` and `-` compare the values of two measurements. They raise a
    `ValueError` unless both have the same metric, settings, features, reference, and,
    if the metric is biased, the same number of samples.
    """

    metric: str
    value: float
    interval: tuple[float, float] | None
    settings: str
    unbiased: bool
    space: FeatureSpace
    num_samples: int
    num_reference: int
    reference: str
    seed: int | None = None

    @property
    def name(self) -> str:
        """The metric; by its published name if the features are the published ones."""
        for name in _PUBLISHED.get(self.metric, ()):
            if name in self.space.published:
                return name
        return self.metric

    def __str__(self) -> str:
        settings = f", {self.settings}" if self.settings else ""
        interval = (
            ""
            if self.interval is None
            else f" (95 %: {self.interval[0]:.4g} to {self.interval[1]:.4g})"
        )
        seed = "" if self.seed is None else f", seed {self.seed}"
        return (
            f"{self.name}{settings}: {self.value:.4g}{interval}; {self.space};"
            f" {self.num_samples:,} samples{seed}, against {self.num_reference:,} of"
            f" reference {self.reference[:8]}"
        )

    def check_comparable(self, other: "Measurement") -> None:
        """Refuses a measurement of something else.

        **Raises:** `ValueError` that names everything that differs.
        """
        differs = []
        for what in ("metric", "settings", "space", "reference", "num_reference"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                differs.append(f"{what}: {ours} against {theirs}")
        if not (self.unbiased or self.num_samples == other.num_samples):
            differs.append(
                f"num_samples: {self.num_samples} against {other.num_samples}, and the"
                " bias depends on it"
            )
        if not self.space.hash:
            differs.append(
                f"the weights of the features {self.space.name!r} are unknown: use an"
                " Equinox module, or give `FunctionFeatures` a `hash`"
            )
        if differs:
            raise ValueError(
                f"these measurements do not compare: {'; '.join(differs)}."
                " Measure both in the same way."
            )

    def __sub__(self, other: "Measurement") -> float:
        self.check_comparable(other)
        return self.value - other.value

    def __lt__(self, other: "Measurement") -> bool:
        return self - other < 0

    def __gt__(self, other: "Measurement") -> bool:
        return self - other > 0

    def __le__(self, other: "Measurement") -> bool:
        return self - other <= 0

    def __ge__(self, other: "Measurement") -> bool:
        return self - other >= 0

    def as_json(self) -> dict[str, Any]:
        """All fields as plain data, and the name under `name`."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Measurement":
        """The measurement that `as_json` has written, also if read from a file."""
        fields = {name: value for name, value in content.items() if name != "name"}
        space = dict(fields["space"])
        for name in ("value_range", "published"):
            space[name] = tuple(space[name])
        fields["space"] = FeatureSpace(**space)
        if fields["interval"] is not None:
            fields["interval"] = tuple(fields["interval"])
        return cls(**fields)
