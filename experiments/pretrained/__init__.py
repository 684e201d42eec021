"""Models that come with the code, one folder each, loaded in one line.

    from experiments import pretrained
    model = pretrained.load("fashion_mnist_blur")
    images = model.sample(64)

A folder holds what a run folder does, without what is needed to go on training:
`config.json`, `levels.json`, `prior.eqx`, `model.eqx`; and a card, `card.json` for
programs and `README.md` for people. Beside the folders lie classifiers,
`classifier_DATA.eqx`, in whose features samples are compared with data: what
`python -m experiments.classifier DATA` writes.
"""

from .._run import PRETRAINED as _PRETRAINED, Model as Model, open_model as _open_model
from ._export import export as export


def names() -> list[str]:
    """The models that there are."""
    return sorted(path.parent.name for path in _PRETRAINED.glob("*/config.json"))


def load(name: str) -> Model:
    """The model of a name: its process, denoiser, prior, config and card.

    **Raises:** `FileNotFoundError` for another name, with those that there are.
    """
    if name not in names():
        raise FileNotFoundError(
            f"No model {name!r} comes with the code; there are: "
            f"{', '.join(names()) or 'none'}."
        )
    return _open_model(name)
