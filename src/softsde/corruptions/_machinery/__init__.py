"""The families share these: base classes, bases, promises and checks."""

from ._base import (
    AbstractCorruption as AbstractCorruption,
    working_dtype as working_dtype,
)
from ._bases import (
    check_basis as check_basis,
    check_sample_shape as check_sample_shape,
    dct_matrix as dct_matrix,
    frequencies as frequencies,
    multiply_along as multiply_along,
    spatial_axes as spatial_axes,
    squared_frequencies as squared_frequencies,
)
from ._check import (
    check as check,
    check_linear as check_linear,
    check_only as check_only,
)
from ._combination import (
    AbstractCombination as AbstractCombination,
    check_members as check_members,
)
from ._diagonal import AbstractDiagonalCorruption as AbstractDiagonalCorruption
from ._jump import largest_jump as largest_jump
from ._pixel_order import (
    check_grow as check_grow,
    kept as kept,
    mask_structure as mask_structure,
    ranks_from_centre as ranks_from_centre,
    squared_distances as squared_distances,
)
from ._report import Finding as Finding, Report as Report
from ._structure import (
    Range as Range,
    Structure as Structure,
    common_structure as common_structure,
)
