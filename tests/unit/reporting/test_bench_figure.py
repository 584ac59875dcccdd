"""The figure of `elasticast bench`."""

import pandas as pd
import pytest

from elasticast.errors import DataError
from elasticast.reporting.bench_figure import PANELS, bench_caption, draw_bench, read_benches
from tests.complaints import complains

MACHINE = {"device": "Some CPU", "threads": 1, "torch": "2.10.0"}


def steps(key, names, **more):
    rows = [{key: name, "pass": "step", "cpu_ratio": ratio, "ratio": 9.0} for ratio, name in enumerate(names, start=1)]
    rows.append({key: names[0], "pass": "forward", "cpu_ratio": 7.0, "ratio": 7.0})
    return pd.DataFrame(rows).assign(peak_mib=None, lengths="voxceleb", clips=12, **more)


TABLES = {
    "packing": steps("way", ["packed-sdpa", "bucketed"], padding_share=0.1),
    "others": steps("implementation", ["elasticast", "timm-naflexvit"]),
    "frontend": pd.DataFrame({"length_s": [1, 1], "way": ["torchaudio", "elasticast"], "cpu_speedup": [1, 2.5]}),
    "loader": pd.DataFrame({"workers": [0, 2], "wait_share": [0.3, 0.02], "loader_clips_per_s": [90.0, 170.0]}),
    "sweep": pd.DataFrame({"way": ["one pass per length", "one pass"], "speedup": [1, 6], "cpu_speedup": [1.0, 5.2]}),
    "scaling": pd.DataFrame({"axis": ["clips", "clips"], "tokens": [504, 10080], "cpu_seconds": [0.31, 4.0]}),
}


@pytest.fixture
def files(tmp_path):
    for kind, table in TABLES.items():
        table.assign(**MACHINE).to_csv(tmp_path / f"{kind}.csv", index=False)
    return {kind: tmp_path / f"{kind}.csv" for kind in TABLES}


def test_each_benchmark_is_a_panel_whatever_its_file_is_called(files, tmp_path):
    moved = [path.rename(tmp_path / f"{number}.csv") for number, path in enumerate(files.values())]
    benches = read_benches(moved[::-1])
    assert list(benches) == list(PANELS)
    figure = draw_bench(benches)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [title for _, title, _ in PANELS.values()]
    assert bench_caption(benches).count("Some CPU") == 1


def test_bars_are_the_processor_time_of_training_steps_on_a_cpu(files):
    (ax,) = draw_bench(read_benches([files["packing"]])).axes
    assert [bar.get_width() for bar in ax.patches] == [1, 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["packed-sdpa", "bucketed"]


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("score\n1\n")
    with complains(DataError, path, "packing"):
        read_benches([path])
    with complains(DataError, tmp_path / "none.csv"):
        read_benches([tmp_path / "none.csv"])
