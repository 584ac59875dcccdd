"""Export an AST in the layout of Hugging Face, which `transformers` loads without this package."""

from pathlib import Path

from safetensors.torch import save_file

from elasticast.errors import DataError
from elasticast.files import write_atomic, write_json
from elasticast.inference.exported import Exported
from elasticast.models.weights import hugging_face as layout
from elasticast.progress import LOG

WEIGHTS, FILES = "model.safetensors", ("config.json", "preprocessor_config.json")
USE = """To use the model:

```python
from transformers import ASTFeatureExtractor, ASTForAudioClassification

model = ASTForAudioClassification.from_pretrained("this folder").eval()
extractor = ASTFeatureExtractor.from_pretrained("this folder")
inputs = extractor(waveform, sampling_rate=extractor.sampling_rate, return_tensors="pt")  # mono, full scale 1
logits = model(**inputs).logits
```
"""


def write(exported: Exported, out: Path) -> None:
    """Write `config.json`, `model.safetensors` and `preprocessor_config.json`.

    Raises
    ------
    DataError
        If the layout has no such model; the message lists why.
    """
    weights, classes = exported.weights, exported.pretrained.classes
    if reasons := layout.problems(weights.config):
        listed = "".join(f"\n  {reason}" for reason in reasons)
        raise DataError(
            f"{exported.run}: cannot be written in the layout of Hugging Face:{listed}\nUse --to torch-export or "
            "--to onnx for other tools than this package, or --to elasticast"
        )
    notes = layout.notes(weights.config, exported.pretrained.kind)
    for note in notes:
        LOG.warning("%s: %s", exported.run, note)
    tensors = layout.state(weights.tensors, weights.config)
    write_atomic(out / WEIGHTS, lambda file: save_file(tensors, file, {"format": "pt"}))
    contents = layout.model_config(weights.config, classes), layout.extractor_config(weights.config, weights.norm)
    for name, content in zip(FILES, contents, strict=True):
        write_json(out / name, content)
    exported.describe(out, (WEIGHTS, *FILES), USE, notes, format="huggingface")
