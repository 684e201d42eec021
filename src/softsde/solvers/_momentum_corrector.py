r"""The probability-flow Momentum step as a corrector."""

from typing import ClassVar

from ..terms import ControlForm
from ._correctors import AbstractCorrector


class MomentumCorrector(AbstractCorrector):
    r"""The step of the probability-flow Momentum Sampler, by what is known at its end.

    A predictor has gone from $x_t$ to $\tilde x$. The corrector goes again from $x_t$,
    by Eq. 51 with the prediction and the score at $(t', \tilde x)$ in place of those at
    $(t, x_t)$:

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \tilde D + \tfrac12 (\sigma_t^2 -
    \sigma_{t'}^2)\, S_{t'}(\tilde x), \qquad \tilde D = D(t', \tilde x).$$

    It is one iteration of the implicit Euler method on the probability flow: of order
    1, and what the predictor drew in noise is undone. The paper pairs a DDIM predictor
    with a corrector that is its Momentum Sampler for the probability flow; that the
    corrector repeats the step is our reading of the pair. One evaluation of the
    network. It wants steps over which `sigma` falls by less than about a factor of
    1.7, as it divides by $\sigma_{t'}^2$. The mean of both evaluations is
    [`softsde.HeunMomentum`][softsde.solvers.HeunMomentum], of order 2.
    """

    evaluations_per_step: ClassVar[int] = 1
    draws_noise: ClassVar[bool] = False

    def correct(self, form, s0, s1, before, after):
        flow = ControlForm(form.process, form.denoiser, None, form.forward)
        return before + flow.prod(flow.vf(s1, after, None), flow.contr(s0, s1))
