"""A number with an error bar."""

import dataclasses
import math
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimate, its standard error, and the interval that covers the truth.

    - `value`, `standard_error`: unpack as `value, error = estimate`.
    - `degrees`: degrees of freedom of the standard error; infinite if it is known as
        well as if the samples were many.
    - `ends`: ends of the 95 % interval, if it does not lie evenly around the value.

    ```python
    value, error = ss.metrics.kernel_distance(features, reference)
    low, high = ss.metrics.kernel_distance(features, reference).interval
    ```
    """

    value: float
    standard_error: float
    degrees: float | int = math.inf
    ends: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval: `ends`, or else Student's quantile of errors each way."""
        if self.ends is not None:
            return self.ends
        # Slow to import, and needed here only.
        from scipy.special import ndtri, stdtrit

        quantile = (
            float(ndtri(0.975))
            if math.isinf(self.degrees)
            else float(stdtrit(self.degrees, 0.975))
        )
        half = quantile * self.standard_error
        return self.value - half, self.value + half

    def __iter__(self) -> Iterator[float]:
        return iter((self.value, self.standard_error))
