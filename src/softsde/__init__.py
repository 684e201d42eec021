"""Diffusion models for any known linear corruption plus noise.

`x_t = C_t x0 + sigma_t eta`: a corruption, two schedules and a process; a denoiser, a
loss and a solver. See the documentation for the formalism and the reference.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from . import (
    clocks as clocks,
    corruptions as corruptions,
    denoisers as denoisers,
    fitting as fitting,
    guidance as guidance,
    likelihood as likelihood,
    losses as losses,
    models as models,
    nn as nn,
    oracles as oracles,
    parametrisations as parametrisations,
    processes as processes,
    sampling as sampling,
    schedules as schedules,
    solvers as solvers,
    terms as terms,
)
from .denoisers import (
    Denoiser as Denoiser,
    FunctionDenoiser as FunctionDenoiser,
)
from .likelihood import bits_per_dim as bits_per_dim, log_likelihood as log_likelihood
from .models import Model as Model, load as load
from .parametrisations import convert as convert
from .processes import (
    Process as Process,
    blurring_diffusion as blurring_diffusion,
    cold as cold,
    cosine_vp as cosine_vp,
    edm as edm,
    heat_dissipation as heat_dissipation,
    rectified_flow as rectified_flow,
    soft_blur as soft_blur,
    soft_mask as soft_mask,
    subvp as subvp,
    ve as ve,
    vp as vp,
)
from .sampling import (
    AbstractPrior as AbstractPrior,
    EmpiricalPrior as EmpiricalPrior,
    ExactPrior as ExactPrior,
    FlatColourPrior as FlatColourPrior,
    GaussianPrior as GaussianPrior,
    Samples as Samples,
    arc_length_times as arc_length_times,
    karras_times as karras_times,
    sample as sample,
    uniform_times as uniform_times,
)
from .solvers import (
    DDIM as DDIM,
    Ancestral as Ancestral,
    AnnealedLangevin as AnnealedLangevin,
    EDMHeun as EDMHeun,
    Heun as Heun,
    Langevin as Langevin,
    Momentum as Momentum,
    MomentumCorrector as MomentumCorrector,
    Multistep as Multistep,
    Naive as Naive,
    PredictorCorrector as PredictorCorrector,
)
from .terms import (
    forward_sde as forward_sde,
    probability_flow as probability_flow,
    reverse_sde as reverse_sde,
)

if TYPE_CHECKING:
    from . import (
        data as data,
        metrics as metrics,
        plotting as plotting,
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
