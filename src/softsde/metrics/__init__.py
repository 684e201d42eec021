"""How close a set of samples is to a data set: distances, neighbours, proportions.

Everything here runs on the host in NumPy, on arrays that are already computed; only
`extract_features` runs a network. A distance between features is a statement about the
feature space as much as about the samples, so say which one was used.
"""

from ._class_proportions import (
    ClassProportions as ClassProportions,
)
from ._class_proportions import (
    class_proportions as class_proportions,
)
from ._features import (
    FeatureExtractor as FeatureExtractor,
)
from ._features import (
    extract_features as extract_features,
)
from ._frechet import (
    FrechetReport as FrechetReport,
)
from ._frechet import (
    frechet_bias as frechet_bias,
)
from ._frechet import (
    frechet_distance as frechet_distance,
)
from ._frechet import (
    frechet_distance_from_moments as frechet_distance_from_moments,
)
from ._frechet import (
    frechet_report as frechet_report,
)
from ._kernel_distance import (
    KernelDistance as KernelDistance,
)
from ._kernel_distance import (
    kernel_distance as kernel_distance,
)
from ._moments import FeatureMoments as FeatureMoments
from ._nearest_neighbours import nearest_neighbours as nearest_neighbours
from ._precision_recall import (
    PrecisionRecall as PrecisionRecall,
)
from ._precision_recall import (
    precision_recall as precision_recall,
)
from ._sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
