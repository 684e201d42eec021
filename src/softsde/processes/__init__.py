"""Processes: a corruption run by a level schedule, plus noise run by a noise schedule.

One class, `Process`, and constructors that name its published members.
"""

from ._blurring import (
    blurring_diffusion as blurring_diffusion,
    heat_dissipation as heat_dissipation,
    soft_blur as soft_blur,
)
from ._classical import classical_sde as classical_sde
from ._constructors import (
    cold as cold,
    cosine_vp as cosine_vp,
    edm as edm,
    rectified_flow as rectified_flow,
    subvp as subvp,
    ve as ve,
    vp as vp,
)
from ._ddpm import ddpm as ddpm
from ._masking import hard_mask as hard_mask, soft_mask as soft_mask
from ._process import Process as Process
from ._same import same_process as same_process
