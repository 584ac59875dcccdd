"""The files that benchmarks of audio encoders load, in an export of a run."""

from pathlib import Path

from elasticast.config.model.own_code import code_sha256
from elasticast.errors import DataError
from elasticast.files import write_text
from elasticast.inference.exported import Exported

FRAMES = {
    "xares_encoder.py": '''"""For X-ARES: python -m xares.run FOLDER/xares_encoder.py TASKS"""

from pathlib import Path

from elasticast.encoders.interfaces import XAres


class {name}(XAres):
    def __init__(self):
        super().__init__(str(Path(__file__).parent))
''',
    "xares_llm_encoder.py": '''"""For XARES-LLM: python -m xares_llm.run FOLDER/xares_llm_encoder.py"""

from pathlib import Path

from elasticast.encoders.interfaces import XAresLLM


class {name}(XAresLLM):
    def __init__(self, **_):
        super().__init__(str(Path(__file__).parent))
''',
}
"""Files of benchmarks that need embeddings over time."""
CLIPS = {
    "hear_model.py": '''"""For HEAR, in this folder: python -m hearvalidator.validate hear_model"""

from pathlib import Path

from elasticast.encoders import interfaces
from elasticast.encoders.interfaces import get_scene_embeddings, get_timestamp_embeddings  # noqa: F401


def load_model(model_file_path=""):
    return interfaces.load_model(model_file_path or str(Path(__file__).parent))
''',
    "maeb_model.py": '''"""For mteb: mteb.evaluate(maeb_model.model, mteb.get_tasks(modalities=["audio"]))"""

from pathlib import Path

from elasticast.encoders.interfaces import Maeb

model = Maeb(str(Path(__file__).parent))
''',
}
NAMES = (*FRAMES, *CLIPS)


def check(exported: Exported) -> None:
    """Refuse a model that brings its own code, which loading these files would run.

    Raises
    ------
    DataError
        If the model is such a model.
    """
    model = exported.pretrained.config.model
    if code_sha256(model) is not None:
        raise DataError(
            f"{exported.run}: model.kind = {model.kind!r}: brings its own code, which benchmarks would run without "
            "asking; write a class for them, see docs/export.md"
        )


def write(exported: Exported, out: Path) -> None:
    """Write the files of the benchmarks that the model fits."""
    over_time = hasattr(exported.pretrained.model, "frame_embeddings")
    for name, text in {**(FRAMES if over_time else {}), **CLIPS}.items():
        write_text(out / name, text.replace("{name}", class_name(exported)))


def class_name(exported: Exported) -> str:
    """Name of the class. X-ARES keeps embeddings by this name, so it has to differ for other weights."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in exported.pretrained.config.experiment).split()
    return f"{''.join(map(str.capitalize, words))}_{exported.pretrained.sha256[:8]}_Encoder".lstrip("0123456789_")
