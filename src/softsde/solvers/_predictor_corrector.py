r"""A step in time, then moves that keep the density of the time it has reached."""

import abc
from typing import ClassVar

import equinox as eqx

from .._types import Sample
from ._base import AbstractSolver, Noise, Step, check_noise, finish, read_term


class AbstractCorrector(eqx.Module):
    r"""Moves the end of a predictor's step closer to its density, at a fixed time.

    It acts at the end $t'$ of the step. Applied to a draw of $q_{t'}$ it returns one,
    in the limit of its own small steps, so it takes back some of the predictor's error.
    Used by [`softsde.PredictorCorrector`][softsde.solvers.PredictorCorrector].
    """

    #: Whether it draws noise (`"own"`) or not (`"none"`).
    noise: eqx.AbstractVar[Noise]
    #: How often a correction evaluates the denoiser.
    evaluations_per_step: eqx.AbstractVar[int]

    @abc.abstractmethod
    def correct(self, step: Step, predicted: Sample) -> Sample:
        """The corrected state at the end of a step.

        **Arguments:**

        - `step`: the step that the predictor took; `step.x` is the state at its start.
        - `predicted`: the predictor's state at its end.
        """


class PredictorCorrector(AbstractSolver):
    r"""A predictor's step from $t$ to $t'$, then a corrector at $t'$.

    Any solver of the library predicts, and any corrector corrects: one that moves by
    the score of $q_{t'}$, and so pulls the sample towards the density that it should
    have there. It costs the evaluations of the two.

    - `PredictorCorrector(Momentum(), Langevin(snr=0.16))` is Song's pair on a process
        without a corruption, reverse diffusion and Langevin dynamics (their Algorithm
        4).
    - `PredictorCorrector(DDIM(), MomentumCorrector())` is the paper's, on the flow.
    - `PredictorCorrector(Multistep(), AnnealedLangevin(levels, 1e-5, steps=1))` is a
        predictor of second order with a chain whose step size follows the noise.

    The predictor follows the clock if it is one that does. The noise of a corrector is
    independent of the predictor's, and is drawn whatever the clock is. As steps in time
    get shorter and more numerous, a corrector of fixed step size is applied more often,
    so the limit is the corrector's own density: exact where the corrector is.

    !!! example

        ```python
        pair = ss.PredictorCorrector(ss.Momentum(), ss.Langevin(snr=0.16))
        ss.sample(denoiser, x1=xs, solver=pair, clock="sde", num_steps=20, key=key)
        ```

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021, Section 4.2.
    """

    predictor: AbstractSolver
    corrector: AbstractCorrector

    orders: ClassVar[tuple[int | None, int | None]] = (None, None)

    def __init__(self, predictor: AbstractSolver, corrector: AbstractCorrector):
        """**Arguments:**

        - `predictor`: takes the step.
        - `corrector`: corrects where it ends.

        **Raises:** `TypeError` for something that is neither.
        """
        for name, given, kind, such_as in (
            ("predictor", predictor, AbstractSolver, "Momentum()"),
            ("corrector", corrector, AbstractCorrector, "Langevin(snr=0.16)"),
        ):
            if not isinstance(given, kind):
                raise TypeError(
                    f"`PredictorCorrector` got {type(given).__name__} for `{name}`; "
                    f"expected one of softsde's, such as `{such_as}`."
                )
        self.predictor = predictor
        self.corrector = corrector

    @property
    def noise(self) -> Noise:
        return (
            self.corrector.noise
            if self.predictor.noise == "none"
            else self.predictor.noise
        )

    @property
    def evaluations_per_step(self) -> int:
        return self.predictor.evaluations_per_step + self.corrector.evaluations_per_step

    @property
    def _part(self) -> int:
        """The corrector's part of a step, so that its noise is its own."""
        inner = self.predictor
        return 1 + (inner._part if isinstance(inner, PredictorCorrector) else 0)

    def init(self, terms, t0, t1, y0, args):
        self.check(terms)
        drift, path = read_term("PredictorCorrector", terms)
        if self.corrector.noise == "own" and path is None:
            check_noise(type(self.corrector).__name__, "own", drift.clock, False)
        return self.predictor.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        predicted, _, _, solver_state, _ = self.predictor.step(
            terms, t0, t1, y0, args, solver_state, made_jump
        )
        step = Step("PredictorCorrector", terms, t0, t1, y0, args, part=self._part)
        return finish(y0, self.corrector.correct(step, predicted), solver_state)
