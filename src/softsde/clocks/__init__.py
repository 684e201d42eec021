r"""Clocks: how much noise a sampler injects, relative to what is there.

Every clock leaves every marginal of the process as it is. Clocks differ in the paths
that they draw, and in how well these forgive the mistakes of a denoiser.
"""

from ._base import AbstractClock as AbstractClock
from ._churn import Churn as Churn
from ._custom import Custom as Custom
from ._named import make_clock as make_clock
from ._ode import Ode as Ode
from ._sde import Sde as Sde
