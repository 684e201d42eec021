"""Images to train on: random-access sources, and a resumable stream of batches.

A source is a checked sequence of labelled images; `make_loader` turns one into shuffled
batches whose place in the stream can be saved and restored exactly.
"""

from ._array import ArraySource as ArraySource
from ._cifar import Cifar10Source as Cifar10Source
from ._digits import digits as digits
from ._folder import ImageFolderSource as ImageFolderSource
from ._idx import IdxSource as IdxSource
from ._load import load as load, names as names
from ._loader import make_loader as make_loader
from ._named import cifar10 as cifar10, fashion_mnist as fashion_mnist, mnist as mnist
from ._packed import PackedSource as PackedSource, pack as pack
from ._source import (
    AbstractInMemorySource as AbstractInMemorySource,
    AbstractSource as AbstractSource,
)
from ._subset import (
    Subset as Subset,
    held_out as held_out,
    unbalanced as unbalanced,
)
from ._survey import FolderSurvey as FolderSurvey, survey as survey
from ._to_array import to_array as to_array, to_labels as to_labels
from ._transforms import Pad as Pad, RandomFlip as RandomFlip, Resize as Resize
