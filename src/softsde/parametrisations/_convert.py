"""From any parametrisation to any other."""

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractCorruptedParametrisation, AbstractParametrisation


def convert(
    prediction: Sample,
    from_: AbstractParametrisation,
    to: AbstractParametrisation,
    process: Process,
    t: ScalarLike,
    x: Sample,
) -> Sample:
    r"""The prediction in another parametrisation.

    Between noise and score this works for every corruption. From either of them to
    another quantity it takes the inverse of $C_t$, and from a velocity the inverse of
    $\dot C_t - \frac{\dot\sigma_t}{\sigma_t} C_t$: that is done for scalings and
    refused for the rest, where a singular operator would be divided by.

    !!! example

        ```python
        from softsde.parametrisations import Clean, Score

        x0_hat = denoiser(t, x)
        score = ss.convert(x0_hat, Clean(), Score(), process, t, x)
        ```

    **Arguments:**

    - `prediction`: what `from_` calls an output, shaped like `x`.
    - `from_`, `to`: parametrisations.
    - `process`: that made `x`.
    - `t`, `x`: time and noisy sample of the prediction.

    **Returns:** what `to` calls an output.

    **Raises:** `ValueError` where `prediction` does not determine it.
    """
    if isinstance(from_, AbstractCorruptedParametrisation) and isinstance(
        to, AbstractCorruptedParametrisation
    ):
        corrupted = from_.to_corrupted(process, t, x, prediction)
        return to.from_corrupted(process, t, x, corrupted)
    return to.from_clean(process, t, x, from_.to_clean(process, t, x, prediction))
