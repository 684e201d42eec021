"""Diffusion models for any known linear corruption plus noise.

`x_t = C_t x0 + sigma_t eta`: a corruption, two schedules and a process; a denoiser, a
loss and a solver. See the documentation for the formalism and the reference.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from . import (
    corruptions as corruptions,
)
from . import (
    losses as losses,
)
from . import (
    nn as nn,
)
from . import (
    oracles as oracles,
)
from . import (
    parametrisations as parametrisations,
)
from . import (
    processes as processes,
)
from . import (
    schedules as schedules,
)
from . import (
    solvers as solvers,
)
from . import (
    terms as terms,
)
from ._priors import AbstractPrior as AbstractPrior
from ._priors import GaussianPrior as GaussianPrior
from ._sampling import Samples as Samples
from ._sampling import sample as sample
from .parametrisations import Denoiser as Denoiser
from .processes import Process as Process
from .processes import soft_blur as soft_blur
from .processes import ve as ve
from .solvers import Momentum as Momentum
from .solvers import Naive as Naive
from .terms import probability_flow as probability_flow
from .terms import reverse_sde as reverse_sde

if TYPE_CHECKING:
    from . import (
        data as data,
    )
    from . import (
        metrics as metrics,
    )
    from . import (
        plotting as plotting,
    )
    from . import (
        train as train,
    )

__version__ = importlib.metadata.version("softsde")

# Loaded on first use: they bring grain, orbax and SciPy, which sampling does not need.
_LAZY = ("data", "metrics", "plotting", "train")


def __getattr__(name: str):
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
