r"""The probability-flow Momentum step as a corrector."""

from typing import ClassVar

from .._types import Sample
from ._base import Noise, Step, score_from
from ._predictor_corrector import AbstractCorrector


class MomentumCorrector(AbstractCorrector):
    r"""The step of the probability-flow Momentum Sampler, by the prediction at its end.

    A predictor has gone from $x_t$ to $\tilde x$. The corrector goes again from $x_t$,
    by Eq. 51 with the prediction and the score at $(t', \tilde x)$ in place of those at
    $(t, x_t)$:

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \tilde D + \tfrac12 (\sigma_t^2 -
    \sigma_{t'}^2)\, S_{t'}(\tilde x), \qquad \tilde D = D(t', \tilde x).$$

    It is one iteration of the implicit Euler method on the probability flow: of order
    1, and noise that the predictor drew is undone. The paper pairs a DDIM predictor
    with a corrector that is its Momentum Sampler for the probability flow (Appendix
    F.3); that the corrector repeats the step is our reading of the pair. One evaluation
    of the network. It wants steps over which `sigma` falls by less than about a factor
    of 1.7, as it divides by $\sigma_{t'}^2$. The mean of both evaluations is
    [`softsde.Heun`][softsde.solvers.Heun], of order 2.
    """

    noise: ClassVar[Noise] = "none"
    evaluations_per_step: ClassVar[int] = 1

    def correct(self, step: Step, predicted: Sample) -> Sample:
        process, t, t_next, x = step.process, step.t, step.t_next, step.x
        x0_hat = step.predict(t_next, predicted)
        here, ahead = process.apply(t, x0_hat), process.apply(t_next, x0_hat)
        # Eq. 51 with the field of the end of the step.
        score = score_from(process, t_next, ahead - predicted)
        weight = 0.5 * process.variance_drop(t, t_next)
        return x + ahead - here + weight.astype(x.dtype) * score
