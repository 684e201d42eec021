"""Measures how close samples are to data: distances, neighbours, proportions.

Everything here runs on the host in NumPy, on arrays that are already computed; only
`extract_features` and what is built on it run a network, and `sinkhorn_divergence` runs
ott-jax. A distance between features is a statement about the feature space as much as
about the samples, so a `Measurement` carries the name and the hash of its features, and
compares only with its like.
"""

from ._authenticity import (
    Authenticity as Authenticity,
    CopyTest as CopyTest,
    authenticity as authenticity,
    copy_test as copy_test,
)
from ._class_proportions import (
    ClassProportions as ClassProportions,
    class_proportions as class_proportions,
)
from ._class_wise import class_wise as class_wise
from ._classifier_test import (
    ClassifierTest as ClassifierTest,
    classifier_test as classifier_test,
)
from ._density_coverage import (
    DensityCoverage as DensityCoverage,
    density_coverage as density_coverage,
    expected_coverage as expected_coverage,
)
from ._estimate import Estimate as Estimate
from ._extract import (
    extract_features as extract_features,
    feature_batches as feature_batches,
)
from ._features import AbstractFeatures as AbstractFeatures
from ._frechet import (
    frechet_bias as frechet_bias,
    frechet_distance as frechet_distance,
    frechet_distance_from_moments as frechet_distance_from_moments,
    frechet_error as frechet_error,
    frechet_limit as frechet_limit,
)
from ._function_features import (
    FeatureExtractor as FeatureExtractor,
    FunctionFeatures as FunctionFeatures,
)
from ._inception_score import inception_score as inception_score
from ._kernel_distance import kernel_distance as kernel_distance
from ._kernels import (
    AbstractKernel as AbstractKernel,
    GaussianKernel as GaussianKernel,
    PolynomialKernel as PolynomialKernel,
)
from ._lpips import LPIPS as LPIPS
from ._measure import (
    measure_frechet as measure_frechet,
    measure_kernel as measure_kernel,
    measure_manifold as measure_manifold,
)
from ._measurement import Measurement as Measurement
from ._memorisation import (
    MemorisationCurve as MemorisationCurve,
    memorisation_curve as memorisation_curve,
)
from ._moments import FeatureMoments as FeatureMoments
from ._nearest_neighbours import nearest_neighbours as nearest_neighbours
from ._network_features import (
    NetworkFeatures as NetworkFeatures,
    Preparation as Preparation,
)
from ._networks._clip import CLIP as CLIP
from ._networks._dinov2 import DINOv2 as DINOv2
from ._networks._efficientnet_lite import EfficientNetLite0 as EfficientNetLite0
from ._networks._inception import InceptionV3 as InceptionV3
from ._networks._vgg import VGG16 as VGG16
from ._networks._vision_transformer import TransformerSize as TransformerSize
from ._pixel_features import PixelFeatures as PixelFeatures
from ._precision_recall import (
    PrecisionRecall as PrecisionRecall,
    precision_recall as precision_recall,
)
from ._published_features import (
    clip_features as clip_features,
    dinov2_features as dinov2_features,
    efficientnet_features as efficientnet_features,
    inception_features as inception_features,
)
from ._reference import reference_statistics as reference_statistics
from ._sinkhorn import (
    SinkhornDivergence as SinkhornDivergence,
    sinkhorn_divergence as sinkhorn_divergence,
)
from ._sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
from ._space import FeatureSpace as FeatureSpace
from ._statistics import FeatureStatistics as FeatureStatistics
