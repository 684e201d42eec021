"""Images to train on: random-access sources, and a resumable stream of batches.

A source is a checked sequence of labelled images; `make_loader` turns one into shuffled
batches whose place in the stream can be saved and restored exactly.
"""

from ._array import ArraySource as ArraySource
from ._digits import digits as digits
from ._idx import IdxSource as IdxSource
from ._loader import make_loader as make_loader
from ._named import fashion_mnist as fashion_mnist
from ._named import mnist as mnist
from ._source import (
    AbstractInMemorySource as AbstractInMemorySource,
)
from ._source import (
    AbstractSource as AbstractSource,
)
from ._to_array import to_array as to_array
from ._to_array import to_labels as to_labels
