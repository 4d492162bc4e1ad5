"""BLIP-2: captions, answers, scores and vectors of pictures, natively.

    import blip2

    model = blip2.Model.from_pretrained("path/to/model")
    print(model.caption("photo.jpg"))
    print(model.answer("photo.jpg", "what colour is the car?"))
    print(model.match("photo.jpg", ["a red car", "a cat"]))
"""

import os as _os

# Waiting threads of LibTorch's OpenMP look for work at full speed for long, which slows all else down; read
# when the library is loaded.
if "OMP_WAIT_POLICY" not in _os.environ:
    _os.environ.setdefault("GOMP_SPINCOUNT", "3000")

from ._command import train
from ._errors import Error
from ._model import Chat, Match, Model, Text
from ._native import __version__

__all__ = ["Chat", "Error", "Match", "Model", "Text", "train", "__version__"]
