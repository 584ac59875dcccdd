"""Options that would have no effect are refused, before anything is read."""

import pytest
from typer.testing import CliRunner

from elasticast.cli import app
from tests.complaints import assert_names


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("sweep run data --out o --lengths 1s --contexts 1s", ["--contexts", "--chunks"]),
        ("audit random:ast --out o --split dev", ["--split", "--data"]),
        ("audit random:ast --out o --task events", ["--task", "--data"]),
        ("listen - --model demo --device 1", ["--device", "microphone"]),
        ("listen - --model demo --rate 8000", ["--rate", "--format"]),
        ("listen - --model demo --channels 2", ["--channels", "--format"]),
        ("listen microphone --model demo --format s16le", ["--format", "standard input"]),
        ("verify results/mini --repeat nothing --run elastic/seed0", ["--run", "--repeat"]),
        ("verify results/mini --repeat nothing --out o.csv", ["--out", "--repeat"]),
        ("publish results/mini --ablation pooling --partial", ["--partial", "ablation"]),
        ("bench packing --split dev", ["--split", "--data"]),
        ("bench packing --data d --lengths speech", ["--lengths", "--data"]),
    ],
)
def test_an_option_without_effect_is_refused(words, named):
    result = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert_names(result.output, *named)


@pytest.mark.parametrize("words", ["predict a.wav", "predict a.wav b.FLAC"])
def test_audio_in_the_place_of_the_model_is_refused(words):
    result = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert_names(result.output, "CKPT", "a.wav", "demo")
