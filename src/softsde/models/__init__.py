"""Models: a denoiser, its prior and a card, in a folder that anyone can load.

A folder holds `model.json` (everything that has a name or is a small number) and
`model.safetensors` (the arrays). Nothing in it is code: it is read without pickle, and
builds only the classes of this library and those that you hand in.
"""

from .._torch import (
    Inert as Inert,
    module_fields as module_fields,
    module_state as module_state,
    read_torch as read_torch,
)
from ._json import from_json as from_json, to_json as to_json
from ._load import (
    load as load,
    load_network as load_network,
    names as names,
    network_names as network_names,
    read_card as read_card,
    save_network as save_network,
)
from ._model import Model as Model
from ._published import published_weights as published_weights
