"""ElasticAST: audio spectrogram transformers for any length and resolution, and a benchmark suite for them."""

__version__ = "0.1.0"


def __getattr__(name: str):
    # the workflow imports this package for every dry run, and importing torch takes seconds
    if name in ("AudioClassifier", "load_pretrained"):
        from elasticast.inference import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
