"""Corruptions: families `C(theta)` of linear operators, one family a file.

A corruption knows its operator at a level `theta`, the adjoint and the derivative in
`theta`. It knows nothing of time or noise: those belong to the process.
"""

from ._base import AbstractCorruption as AbstractCorruption
from ._gaussian_blur import GaussianBlur as GaussianBlur
from ._identity import Identity as Identity
from ._scale import Scale as Scale
