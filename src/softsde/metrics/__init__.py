"""How close a set of samples is to a data set: distances, neighbours, proportions.

Everything here runs on the host in NumPy, on arrays that are already computed; only
`extract_features` runs a network. A distance between features is a statement about the
feature space as much as about the samples, so say which one was used.
"""

from ._class_proportions import (
    ClassProportions as ClassProportions,
    class_proportions as class_proportions,
)
from ._extract import (
    FeatureExtractor as FeatureExtractor,
    extract_features as extract_features,
)
from ._features import AbstractFeatures as AbstractFeatures
from ._frechet import (
    FrechetReport as FrechetReport,
    frechet_bias as frechet_bias,
    frechet_distance as frechet_distance,
    frechet_distance_from_moments as frechet_distance_from_moments,
    frechet_report as frechet_report,
)
from ._kernel_distance import (
    KernelDistance as KernelDistance,
    kernel_distance as kernel_distance,
)
from ._lpips import LPIPS as LPIPS
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
from ._sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
