import pytest

from elasticast.config import RunConfig
from elasticast.validation import deep_merge

ELASTIC = {"kind": "elasticast", "dim": 32, "depth": 2, "heads": 2, "max_frames": 256}
FIXED = {"kind": "ast", "dim": 32, "depth": 2, "heads": 2}


def make_config(**difference) -> RunConfig:
    """A tiny run; `difference` is laid over it."""
    base = {
        "experiment": "tiny",
        "seed": 0,
        "dataset": "soundscapes",
        "task": "events",
        "view": {"frames": "native", "max_frames": 256},
        "model": ELASTIC,
        "train": {"steps": 4, "batch": {"clips": 4}, "lr": 1.0e-3, "log_every": 1, "checkpoint_every": 2},
    }
    if difference.get("model", {}).get("kind") == "ast":
        base["model"], base["view"]["frames"] = FIXED, 64
    return RunConfig.model_validate(deep_merge(base, difference))


@pytest.fixture(scope="session")
def tiny():
    return make_config
