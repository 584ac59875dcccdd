"""`elasticast bench others`: each implementation computes logits of all clips, and is compared with ElasticAST."""

import sys

import pytest
import torch

from elasticast.benchmarks.others import OTHERS, measure_others, select_others
from elasticast.benchmarks.report import show_others
from elasticast.errors import ElasticASTError
from tests.complaints import assert_names

pytestmark = pytest.mark.usefixtures("cpu")
PACKAGES = {"vit-pytorch-navit": "vit_pytorch", "vit-pytorch-navit-nested": "vit_pytorch"}
PACKAGES |= {"timm-naflexvit": "timm", "huggingface-ast": "transformers"}
TOKENS = [16, 48, 8]


def measure(tiny, names):
    options = {"device": torch.device("cpu"), "rounds": 1}
    return measure_others(tiny(view={"max_frames": 128}), TOKENS, names, "sdpa", **options)


@pytest.mark.parametrize("name", OTHERS)
def test_an_implementation_is_timed_or_left_out_with_the_reason(tiny, name):
    pytest.importorskip(PACKAGES[name])
    table, left_out = measure(tiny, [name])
    assert table["pass"].unique().tolist() == ["forward", "forward+backward", "step"]
    if left_out:
        assert table["implementation"].unique().tolist() == ["elasticast"]
        assert_names(left_out[name], torch.__version__, "cpu")
        return
    ours, other = table[:2].to_dict("records")
    assert (ours["implementation"], other["implementation"], ours["ratio"]) == ("elasticast", name, 1.0)
    assert ours["tokens_computed"] == sum(TOKENS)
    assert other["tokens_computed"] >= sum(TOKENS)
    assert 0.5 < other["parameters"] / ours["parameters"] < 2


def test_padding_and_rows_are_counted(tiny):
    pytest.importorskip("timm")
    table, _ = measure(tiny, ["timm-naflexvit"])
    assert table["tokens_computed"].tolist()[:2] == [sum(TOKENS), len(TOKENS) * max(TOKENS)]


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.models.naflexvit", None)
    table, left_out = measure(tiny, ["timm-naflexvit"])
    assert table["implementation"].unique().tolist() == ["elasticast"]
    assert_names(left_out["timm-naflexvit"], "timm", "pip install 'elasticast[bench]'")


def test_an_unknown_implementation_is_named():
    assert select_others([]) == list(OTHERS)
    with pytest.raises(ElasticASTError) as error:
        select_others(["navit"])
    assert_names(str(error.value), "--other navit", "vit-pytorch-navit")


def test_tables_as_markdown(tiny, capsys):
    table, left_out = measure(tiny, [])
    show_others(table, left_out, markdown=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 3 * 3  # heads, rule and one row for each pass
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].split("|")[1].strip() == "elasticast"
