"""Tests that need a GPU. `make gpu` runs them; they are skipped elsewhere."""

import pytest
import torch

from elasticast.models.attention import why_not

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


def skip_without(backend, dtype):
    """Skip a test if the backend has no kernels for this type, or does not work with this version of torch."""
    reason = why_not(backend, "cuda", dtype)
    if reason is not None:
        pytest.skip(f"{backend}: {reason}")
