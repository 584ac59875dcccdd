"""A small suite with made-up results, and the scripts of `paper_figures` run on them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text

from elasticast.checksums import write_record
from elasticast.config.load_suite import load_suite
from elasticast.data.store import write_index, writing_part
from elasticast.reporting.read_tables import METRICS

SCRIPTS = Path(__file__).parents[3] / "paper_figures"
EVALUATIONS = {
    "lengths": {"x_name": "max_frames", "x": [32.0, 64.0, 128.0, 256.0]},
    "hops": {"x_name": "compression", "x": [1.0, 1.2, 2.0, 4.0]},
}


STRIDES = {"model": {"stride": 10}}
STFT = {"front_end": {"kind": "stft", "n_fft": 1024, "window_ms": 10, "hop_ms": 5}}
# changes of experiments that change how many tokens a clip has
VIEWS = {
    "as it is": {},
    "tail": {"elastic": {"view": {"max_frames": 256, "tail": "drop"}}},
    "fewest frames": {"elastic": {"view": {"max_frames": 256, "min_frames": 32}}},
    "stride": {"ast64": STRIDES, "ast128": STRIDES, "elastic": STRIDES},
    "tail and stride": {
        "ast64": STRIDES,
        "elastic": {**STRIDES, "view": {"max_frames": 256, "min_frames": 32, "tail": "drop"}},
    },
    "masked padding": {"ast64": {"view": {"frames": 64, "fill": "mask"}}},
    "front end": {"ast64": STFT, "ast128": STFT, "hop20": STFT, "elastic": STFT},
}


def experiments() -> dict:
    shared = {"dataset": "toy", "task": "events"}
    lengths, hops = {"evaluations": ["lengths"]}, {"evaluations": ["hops"]}
    return {
        "ast64": {**shared, **lengths, "label": "AST 64", "model": {"kind": "ast"}, "view": {"frames": 64}},
        "ast128": {**shared, **lengths, "label": "AST 128", "model": {"kind": "ast"}, "view": {"frames": 128}},
        "hop20": {
            **shared, **hops, "label": "AST 20 ms", "color": "#123456",
            "model": {"kind": "ast"}, "view": {"frames": 64, "compression": [2.0]},
        },
        "elastic": {
            **shared, "evaluations": ["lengths", "hops"], "label": "ElasticAST",
            "model": {"kind": "elasticast", "max_frames": 256}, "view": {"max_frames": 256},
        },
    }  # fmt: skip


def score(name: str, seed: int, x: float) -> float:
    """AST peaks where it was trained; ElasticAST grows with length and falls with compression."""
    peak = {"ast64": 64, "ast128": 128, "hop20": 2}.get(name)
    base = 0.6 - 0.1 * abs(np.log2(x / peak)) if peak else 0.5 + (x if x > 8 else -20 * x) / 1000
    return base + 0.02 * seed


def metrics_table(skip: tuple[str, ...] = (), seeds: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    rows = []
    for name, experiment in experiments().items():
        for evaluation in experiment["evaluations"]:
            sweep = EVALUATIONS[evaluation]
            for seed in () if name in skip else seeds:
                for x in sweep["x"]:
                    for metric, value in (("mAP", score(name, seed, x)), ("AUC", 0.9)):
                        about = ["toy_suite", name, seed, evaluation, "toy", "events"]
                        rows.append([*about, sweep["x_name"], x, metric, value, 50, 60])
    return pd.DataFrame(rows, columns=list(METRICS))


def change_experiments(project: Path, **changes: dict) -> None:
    """Change settings of experiments in the suite's file; `model` settings are added to those that are there."""
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    for name, change in changes.items():
        old = raw["experiments"][name]
        old.update({**change, "model": {**old["model"], **change.get("model", {})}})
    path.write_text(yaml.safe_dump(raw, sort_keys=False))


def suite_of(project: Path):
    return load_suite("toy_suite", project / "config")


def prepare_data(folder: Path, seconds: np.ndarray) -> Path:
    """A prepared data set as `elasticast prepare` writes it, of noise."""
    folder.mkdir(parents=True)
    samples = np.rint(seconds * 16000).astype(int)
    ids = [f"clip{i}" for i in range(len(seconds))]
    manifest = pd.DataFrame({"id": ids, "split": "train", "duration": seconds, "status": "ok", "reason": ""})
    manifest["events"] = [["a"]] * len(seconds)
    rejected = pd.DataFrame({"id": ["bad"], "split": "train", "duration": 99.0, "status": "rejected", "events": [[]]})
    pd.concat([manifest, rejected]).to_parquet(folder / "manifest.parquet")
    (folder / "classes.json").write_text(json.dumps({"events": {"kind": "multi", "classes": ["a", "b"]}}))
    rng = np.random.default_rng(0)
    with writing_part(folder / "part.h5", 16000) as writer:
        for n in samples:
            writer.append(rng.integers(-9000, 9000, n, dtype=np.int16))
    write_index(folder / "train.h5", [folder / "part.h5"], ids, 16000)
    files = [folder / name for name in ("manifest.parquet", "classes.json", "train.h5")]
    write_record(folder / "summary.json", {"sha256": "toy"}, files)
    return folder


def run_script(project: Path, name: str, *extra: str, out: str | None = None) -> Path:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    target = project / "out" / (out or name)
    resolved = project / "suite.yaml"
    resolved.write_text(yaml.safe_dump(load_suite("toy_suite", project / "config").model_dump(mode="json")))
    common = ["--suite", str(resolved), "--out", str(target)]
    script.main([*common, *extra])
    return target


def from_metrics(project: Path) -> list[str]:
    return ["--metrics", str(project / "metrics.csv")]


def write_other(project: Path, change) -> None:
    """Another suite on a dataset of another name; `change` alters its experiments in place."""
    raw = yaml.safe_load((project / "config" / "suites" / "toy_suite.yaml").read_text())
    raw["title"] = "Toy, otherwise"
    for experiment in raw["experiments"].values():
        experiment["dataset"] = "toy_dev"
    change(raw["experiments"])
    (project / "config" / "suites" / "other.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    dataset = "source: soundscapes\nclips: {train: 8, test: 8}\n"
    (project / "config" / "datasets" / "toy_dev.yaml").write_text(dataset)


def other_metrics() -> pd.DataFrame:
    """AST 128 lacks its points beyond 100 frames, ElasticAST a seed; all else is 5 points above the suite at hand."""
    table = metrics_table(skip=("hop20",)).assign(suite="other", dataset="toy_dev")
    table["value"] += 0.05
    gone = (table["experiment"] == "ast128") & (table["x"] > 100)
    return table[~gone & ((table["experiment"] != "elastic") | (table["seed"] == 0))]


def without_ast64(experiments: dict) -> None:
    del experiments["ast64"]


def drawn_figure(project: Path, monkeypatch, name: str, arguments: list[str]) -> tuple[Figure, str]:
    """The figure that a script saves, and its caption."""
    saved = []
    monkeypatch.setattr("elasticast.reporting.style.save", lambda figure, out, caption: saved.append((figure, caption)))
    run_script(project, name, *arguments)
    return saved[0]


def line_texts(figure: Figure) -> list[str]:
    """Each text of a figure, in one line."""
    return [" ".join(text.get_text().split()) for text in figure.findobj(Text)]
