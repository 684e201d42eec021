r"""A step in time, then moves that keep the density of the time it has reached."""

from ._base import AbstractReverseSolver, Advance
from ._chain import require_path
from ._correctors import AbstractCorrector
from ._langevin import Langevin


class PredictorCorrector(AbstractReverseSolver):
    r"""A predictor's step from $t$ to $t'$, then a corrector at $t'$.

    Any solver of the library predicts, and any corrector amends: one that moves by the
    score of $q_{t'}$, and so pulls the sample towards the density that it should have
    there. It costs the evaluations of the two.

    - `PredictorCorrector(Momentum(), Langevin(snr=0.16))` is Song's pair on a process
        without a corruption, reverse diffusion and Langevin dynamics (their Algorithm
        4).
    - `PredictorCorrector(DDIM(), MomentumCorrector())` is the paper's, on the flow.
    - `PredictorCorrector(Multistep(), AnnealedLangevin(1e-5, steps=1))` is a predictor
        of second order with a chain whose step size follows the noise.

    The noise of a corrector is independent of the predictor's, and is drawn whatever
    the noise clock is, also on the probability flow. As steps in time get shorter and
    more numerous, a corrector of fixed step size is applied more often, so the limit is
    the corrector's own density: exact where the corrector is.

    !!! example

        ```python
        pair = ss.PredictorCorrector(ss.Momentum(), ss.Langevin(snr=0.16))
        ss.sample(process, denoiser, x1=xs, solver=pair, num_steps=20, key=key)
        ```

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021, Section 4.2.
    """

    predictor: AbstractReverseSolver
    corrector: AbstractCorrector

    def __init__(self, predictor: AbstractReverseSolver, corrector: AbstractCorrector):
        """**Arguments:**

        - `predictor`: takes the step.
        - `corrector`: amends where it ends.

        **Raises:** `TypeError` for what is neither; `ValueError` for a chain that is
        held at a time of its own.
        """
        for name, given, kind, such_as in (
            ("predictor", predictor, AbstractReverseSolver, "Momentum()"),
            ("corrector", corrector, AbstractCorrector, "Langevin(snr=0.16)"),
        ):
            if not isinstance(given, kind):
                raise TypeError(
                    f"`PredictorCorrector` got {given!r} for `{name}`; expected a "
                    f"{kind.__name__}, such as `{such_as}`."
                )
        if isinstance(corrector, Langevin) and corrector.at is not None:
            raise ValueError(
                f"`PredictorCorrector` got a corrector with `at={corrector.at}`, but a "
                "corrector acts where the predictor's step ends: leave `at` out."
            )
        self.predictor = predictor
        self.corrector = corrector

    @property
    def evaluations_per_step(self) -> int:
        return self.predictor.evaluations_per_step + self.corrector.evaluations_per_step

    @property
    def draws_noise(self) -> bool:
        return self.predictor.draws_noise or self.corrector.draws_noise

    def order(self, terms):
        return None

    def strong_order(self, terms):
        return None

    def start(self, form, s0, y0):
        if self.corrector.draws_noise:
            require_path("PredictorCorrector", form)
        return self.predictor.start(form, s0, y0)

    def advance(self, form, s0, s1, y0, state, made_jump):
        predicted, state, _ = self.predictor.advance(form, s0, s1, y0, state, made_jump)
        return Advance(self.corrector.correct(form, s0, s1, y0, predicted), state)
