"""The files of a trained model, and a check of its values."""

from collections.abc import Mapping

from torch import Tensor

MODEL_FILES = ("model.safetensors", "model.json")
CODE_FILE = "model_code.py"
"""Copy of the file of a model whose class is in a file of the user. `model.json` has its checksum."""
EXPORT_RECORD = "export.json"
"""Record of an export in another format, with the checksums of its files."""
BASE = "base"
"""Key of `model.json` of an adapted run: `source` and `sha256` of the weights that it adapted. The run's own
`model.safetensors` then holds only what it trained."""


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or an infinity; None if there is none."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return name
    return None
