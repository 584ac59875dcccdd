"""ElasticAST: audio spectrogram transformers for any length and resolution, and a benchmark suite for them.

>>> import elasticast
>>> model = elasticast.load_pretrained("results/mini/runs/events_elastic/seed0")  # doctest: +SKIP
>>> model.predict(["recording.wav"], top_k=3)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elasticast.inference.classifier import AudioClassifier, load_pretrained
    from elasticast.inference.prediction import Prediction, Timeline

__version__ = "0.1.0"
__all__ = ["AudioClassifier", "Prediction", "Timeline", "__version__", "load_pretrained"]

_MODULES = {
    "AudioClassifier": "classifier",
    "load_pretrained": "classifier",
    "Prediction": "prediction",
    "Timeline": "prediction",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str):
    # the workflow imports this package for every dry run, and importing torch takes seconds
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"elasticast.inference.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
