"""Summary tables of a suite."""

import pandas as pd
import yaml

from elasticast.checksums import write_record
from elasticast.config import FrontEnd
from elasticast.reporting.collect import norms


def test_statistics_that_runs_set_stand_beside_those_of_their_data(tmp_path, tiny):
    front_end = FrontEnd().model_dump()
    stats = {"mean": -4.0, "std": 3.0, "mean_error": 0.0, "std_error": 0.0, "clips": 2, "of": 2, "front_end": front_end}
    (tmp_path / "soundscapes").mkdir()
    statistics = tmp_path / "soundscapes" / "norm-a.json"
    write_record(statistics, stats | {"module": None})
    runs = []
    for name, difference in {"one": {}, "two": {}, "three": {"front_end": {"hop_ms": 20}}}.items():
        config = tiny(experiment=name, norm={"mean": -4.5, "std": 5}, **difference)
        runs.append(tmp_path / f"{name}.yaml")
        runs[-1].write_text(yaml.safe_dump(config.model_dump(mode="json")))
    norms([statistics, *runs], tmp_path / "norms.csv")
    table = pd.read_csv(tmp_path / "norms.csv").set_index("source")
    assert list(table.index) == ["this data", "`norm` of one, two", "`norm` of three"]
    assert table.loc["`norm` of one, two", ["mean", "std", "mean_difference", "std_difference"]].tolist() == [
        -4.5,
        5,
        -0.5,
        2,
    ]
    assert table.loc["`norm` of three", ["mean_difference", "clips"]].isna().all()
    norms(runs[:1], tmp_path / "norms.csv")
    assert pd.read_csv(tmp_path / "norms.csv")["source"].tolist() == ["`norm` of one"]
