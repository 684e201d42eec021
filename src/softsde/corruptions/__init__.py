"""Corruptions: families `C(theta)` of linear operators, one family a file.

A corruption knows its operator at a level `theta`, the adjoint, the derivative in
`theta`, and which structure the operators have. It does not know time or noise: those
belong to the process.
"""

from ._center_mask import CenterMask as CenterMask
from ._compose import Compose as Compose
from ._desaturate import Desaturate as Desaturate
from ._downsample import Downsample as Downsample
from ._fade import Fade as Fade
from ._function import FunctionCorruption as FunctionCorruption
from ._gaussian_blur import GaussianBlur as GaussianBlur
from ._heat_blur import HeatBlur as HeatBlur
from ._identity import Identity as Identity
from ._machinery import (
    AbstractCombination as AbstractCombination,
    AbstractCorruption as AbstractCorruption,
    AbstractDiagonalCorruption as AbstractDiagonalCorruption,
    Finding as Finding,
    Report as Report,
    Structure as Structure,
    check as check,
    check_linear as check_linear,
    largest_jump as largest_jump,
)
from ._mix import Mix as Mix
from ._motion_blur import MotionBlur as MotionBlur
from ._random_mask import RandomMask as RandomMask
from ._relevel import Relevel as Relevel
from ._scale import Scale as Scale
from ._soft_mask import SoftMask as SoftMask
from ._spectral_filter import SpectralFilter as SpectralFilter
