r"""The Momentum Sampler (Algorithm 2) as a diffrax solver."""

from typing import ClassVar

from ._base import AbstractReverseSolver, Advance


class Momentum(AbstractReverseSolver):
    r"""The Momentum Sampler: Euler's method on the control form, of order 1.

    On the paper's reverse SDE a step is Eq. 17,

    $$x_{t - \Delta} = x_t + (C_{t-\Delta} - C_t)\, \hat x_0 + (\sigma_t^2 -
    \sigma_{t-\Delta}^2)\, s_t + \sqrt{\sigma_t^2 - \sigma_{t-\Delta}^2}\, \eta,$$

    and on the probability flow it is Eq. 51: the same without the noise and with half
    the weight on the score. One evaluation of the network a step. It moves the sample
    by what the corruption loses between two times, and never replaces it by a new
    prediction, which is why it keeps the detail that
    [`softsde.Naive`][softsde.solvers.Naive] averages away.

    !!! example

        ```python
        term = ss.reverse_sde(process, denoiser, shape=shape, key=key)
        diffrax.diffeqsolve(
            term, ss.Momentum(), 0.0, 1.0, 0.01, x1, adjoint=diffrax.ForwardMode()
        )
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Algorithm 2 and Eq. 17, 51.
    """

    evaluations_per_step: ClassVar[int] = 1
    draws_noise: ClassVar[bool] = False

    def order(self, terms):
        return 1

    def strong_order(self, terms):
        # The noise is additive (its size depends on time only), so Euler's method is
        # of strong order 1, as Milstein's.
        return 1

    def start(self, form, s0, y0):
        return None

    def advance(self, form, s0, s1, y0, state, made_jump):
        del state, made_jump
        field = form.vf(s0, y0, None)
        return Advance(y0 + form.prod(field, form.contr(s0, s1)))
