"""ElasticAST: audio spectrogram transformers for any length and resolution, and the suite that measures them."""

__version__ = "0.1.0"
