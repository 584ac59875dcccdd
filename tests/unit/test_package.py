"""What `import elasticast` offers: names, type hints, and models that say what they are."""

import subprocess
import sys
from pathlib import Path

import pytest

import elasticast
from elasticast.data.norm import Norm
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model


def test_every_public_name_exists_and_is_listed():
    assert set(elasticast.__all__) <= set(dir(elasticast))
    assert all(getattr(elasticast, name) is not None for name in elasticast.__all__)
    with pytest.raises(AttributeError, match="load_pretraind"):
        elasticast.load_pretraind  # noqa: B018


def test_listing_the_names_imports_no_torch():
    code = "import elasticast, sys; assert 'load_pretrained' in dir(elasticast); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_type_hints_are_shipped():
    assert (Path(elasticast.__file__).parent / "py.typed").is_file()


def test_a_classifier_says_what_it_is(tiny, tmp_path):
    labels = ["dog", "rain\n", "speech", "café"]
    config = tiny()
    model = build_model(config, 4)
    save_model(tmp_path / "model", model, config, Norm(-5.0, 3.0), labels, "multi")
    said = repr(elasticast.load_pretrained(tmp_path / "model", device="cpu"))
    assert config.experiment in said
    assert "4 classes" in said
    assert "dog" in said
    assert "\n" not in said
    assert f"{config.view.span() * config.front_end.hop_ms / 1000:g} s" in said
    assert f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M" in said
