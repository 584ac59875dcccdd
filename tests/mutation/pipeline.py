"""Run all stages on tiny data in one process, and record what each job wrote and what makes the workflow repeat it.

`tests.mutation.stale` uses it with a changed copy of the package as the first entry of `sys.path`.
"""

import dataclasses
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.mutation.fingerprint import fingerprint, fix_training_time

SETTINGS = yaml.safe_load(Path(__file__).with_name("pipeline.yaml").read_text(encoding="utf-8"))
SEEDS, EXPERIMENTS = SETTINGS["suite"]["seeds"], list(SETTINGS["suite"]["experiments"])
CLASSES = 10


@dataclasses.dataclass
class Job:
    """A job of the workflow.

    Attributes
    ----------
    stage : str
        Stage of the job, as printed in tables.
    digest : str
        Digests of code and params, on which the workflow decides whether to repeat the job.
    inputs : list of str
        Names of the jobs whose output it reads.
    output : str
        Digest of the files that it wrote.
    """

    stage: str
    digest: str
    inputs: list[str]
    output: str


class Pipeline:
    """Runs the jobs in the current folder, after :func:`write_project` has written the project to it."""

    def __init__(self):
        from elasticast.config.load_suite import load_suite

        self.jobs: dict[str, Job] = {}
        self.norms: dict[str, Path] = {}
        self.suite = load_suite("tiny")
        self.out = Path("results/tiny")

    def run(self, name: str, stage: str, digest: str, inputs: list[str], files: list[Path], call: Callable[[], object]):
        """Run a job and record the digest of its files."""
        call()
        self.jobs[name] = Job(stage, digest, inputs, fingerprint(files))

    def all(self) -> dict[str, Job]:
        """Run all jobs."""
        self.settings()
        for name in self.suite.datasets:
            self.dataset(name)
        for name in EXPERIMENTS:
            for seed in SEEDS:
                self.experiment(name, seed)
        self.released()
        self.tables()
        self.figures()
        for name in SETTINGS["ablations"]:
            self.ablation(name)
        return self.jobs

    def settings(self) -> None:
        from elasticast.config import digest

        file = self.out / "suite.yaml"
        self.run(
            "suite", "resolve", digest(self.suite), [], [file], lambda: cli("resolve", "--suite", "tiny", "--out", file)
        )

    def dataset(self, name: str) -> None:
        from elasticast.provenance import code_digest

        config, folder = self.suite.datasets[name], Path("results/data") / name
        more = config.code()
        params = json.dumps(config.recipe())
        cli("prepare", "--dataset", name, "--root", "downloads", "--out", folder)
        prepared = code_digest("prepare", *more) + params
        # within prepare, audio and parts are kept if their own digests do not change
        audio = sorted((folder / "audio").rglob("*.*"))
        synthesis = [f"audio {name}"] if audio else []
        if audio:
            files = [file for file in audio if file.name != "recipe.json"]
            self.jobs[synthesis[0]] = Job("synthesis", code_digest("synthesis", *more) + params, [], fingerprint(files))
        stores = sorted(folder.glob("*.h5"))
        parts = sorted(file for file in folder.rglob("*.h5") if file not in stores and "audio" not in file.parts)
        self.jobs[f"parts {name}"] = Job("decode", code_digest("decode") + params, synthesis, fingerprint(parts))
        tables = [file for file in folder.glob("*") if file.is_file() and file.name != "lock"]
        self.jobs[f"prepare {name}"] = Job("prepare", prepared, [*synthesis, f"parts {name}"], fingerprint(tables))

    def stats(self, run) -> tuple[str, Path]:
        """Name of the job that computes the statistics of a run, and its file; the job runs if it has not run yet."""
        from elasticast.config import digest
        from elasticast.provenance import code_digest

        front_end = run.front_end.model_dump_json()
        folder, key = Path("results/data") / run.dataset, digest(json.loads(front_end))
        name, file = f"stats {run.dataset} {key}", folder / f"norm-{key}.json"
        if name not in self.norms:
            self.norms[name] = file
            options = [
                "--front-end",
                front_end,
                "--data",
                folder,
                "--out",
                file,
                "--clips",
                "9",
                "--module",
                "audioset",
            ]
            code, inputs = code_digest("stats") + front_end, [f"prepare {run.dataset}"]
            self.run(name, "stats", code, inputs, [file], lambda: cli("stats", *options))
        return name, file

    def experiment(self, name: str, seed: int) -> None:
        run = self.suite.runs[name]
        config = self.suite.run_config(name, seed)
        sweeps = {n: e.model_dump() for n, e in self.suite.sweep(name).items()}
        folder = self.out / "runs" / name / f"seed{seed}"
        self.train(name, seed, config)
        self.evaluate(f"evaluate {name} {seed}", f"train {name} {seed}", run.dataset, folder, folder, sweeps)

    def train(self, name: str, seed: int, config) -> None:
        from elasticast.provenance import training_code

        folder, data = self.out / "runs" / name / f"seed{seed}", Path("results/data") / config.dataset
        params = config.model_dump_json()
        cli("configure", "--settings", params, "--out", folder / "config.yaml")
        inputs, options = [f"prepare {config.dataset}"], []
        if config.norm is None:
            job, file = self.stats(config)
            inputs, options = [*inputs, job], ["--norm", file]
        if (config.model.init or "").startswith("run:"):
            inputs.append(f"train {config.model.init.removeprefix('run:')} {seed}")
        options += ["--config", folder / "config.yaml", "--data", data, "--out", folder, "--weights-root", "."]
        files = [folder / file for file in ("model.safetensors", "model.json", "run.json")]
        stage = "select" if config.train.select else "train"
        digest = training_code(config) + params
        self.run(f"train {name} {seed}", stage, digest, inputs, files, lambda: cli("train", *options))
        fix_training_time(folder / "run.json")

    def evaluate(self, name: str, trained: str, dataset: str, model: Path, out: Path, sweeps: dict) -> None:
        from elasticast.provenance import code_digest

        params = json.dumps({"suite": "tiny", "evaluations": sweeps})
        cli("configure", "--settings", params, "--out", out / "sweeps.yaml")
        options = ["--model", model, "--config", out / "sweeps.yaml", "--data", f"results/data/{dataset}", "--out", out]
        files = [out / file for file in ("metrics.csv", "predictions.h5", "evaluation.json")]
        digest, inputs = code_digest("evaluate") + params, [trained, f"prepare {dataset}"]
        self.run(name, "evaluate", digest, inputs, files, lambda: cli("evaluate", *options))

    def released(self) -> None:
        """Evaluate published weights over the sweeps of the run that starts from them."""
        from elasticast.provenance import code_digest

        for name in ("published", "like_released"):
            run, out = self.out / "runs" / name / "seed0", self.out / "released" / name
            options = ["--model", f"{name}.pth", "--run", run / "config.yaml", "--config", run / "sweeps.yaml"]
            options += ["--data", "results/data/toy", "--out", out]
            params = self.suite.run_config(name, 0).model_dump_json()
            files = [out / "metrics.csv", out / "predictions.h5", out / "evaluation.json"]
            digest = code_digest("released") + params
            self.run(
                f"released {name}", "released", digest, ["prepare toy"], files, lambda o=options: cli("evaluate", *o)
            )

    def resample(self, name: str, inputs: dict[str, Path], out: Path) -> str:
        from elasticast.provenance import code_digest

        call = lambda: cli("resample", *inputs.values(), "--out", out)  # noqa: E731
        self.run(f"resample {name}", "intervals", code_digest("intervals"), list(inputs), [out], call)
        return f"resample {name}"

    def tables(self) -> None:
        from elasticast.provenance import code_digest

        resampled = {}
        for name in EXPERIMENTS:
            predictions = {f"evaluate {name} {s}": self.out / "runs" / name / f"seed{s}/predictions.h5" for s in SEEDS}
            file = self.out / "runs" / name / "resampled.h5"
            resampled[self.resample(name, predictions, file)] = file
        summary = self.out / "summary"
        files = [summary / "intervals.csv", summary / "pairs.csv"]
        options = ["--out", files[0], "--pairs", files[1]]
        call = lambda: cli("intervals", *resampled.values(), *options)  # noqa: E731
        self.run("intervals", "intervals", code_digest("intervals"), list(resampled), files, call)
        runs = [(name, seed) for name in EXPERIMENTS for seed in SEEDS]
        trained = {f"train {n} {s}": self.out / f"runs/{n}/seed{s}/run.json" for n, s in runs}
        measured = {f"evaluate {n} {s}": self.out / f"runs/{n}/seed{s}/metrics.csv" for n, s in runs}
        prepared = {f"prepare {name}": Path(f"results/data/{name}/summary.csv") for name in SETTINGS["datasets"]}
        manifests = {"prepare toy": Path("results/data/toy/manifest.parquet")}
        norms = self.norms | {"suite": self.out / "runs/continued/seed0/config.yaml"}
        tables = {
            "metrics": measured,
            "runs": trained,
            "history": trained,
            "data": prepared,
            "lengths": manifests,
            "norms": norms,
        }
        for table, inputs in tables.items():
            out = summary / f"{table}.csv"
            call = lambda t=table, i=inputs, o=out: cli("collect", t, *i.values(), "--out", o)  # noqa: E731
            self.run(f"collect {table}", "collect", code_digest("collect"), list(inputs), [out], call)

    def figure(self, script: str, stage: str, inputs: list[str], *options: object, name: str = "") -> None:
        from elasticast.provenance import code_digest

        name = name or script
        out = Path("figures") / name
        out.parent.mkdir(exist_ok=True)
        run_script(script, *options, "--out", out)
        files = sorted(file for file in Path("figures").glob(f"{name}*") if file.suffix != ".pdf")
        self.jobs[name] = Job(stage, code_digest(stage), inputs, fingerprint(files))

    def figures(self) -> None:
        suite, summary = self.out / "suite.yaml", self.out / "summary"
        curves = ["--suite", suite, "--metrics", summary / "metrics.csv"]
        extra = ["--released", "paper_figures/reference/released_curves.csv", "--intervals", summary / "intervals.csv"]
        inputs, with_intervals = ["suite", "collect metrics"], ["suite", "collect metrics", "intervals"]
        self.figure("fig1_teaser", "curves", inputs, *curves)
        lengths = ["--suite", suite, "--lengths", summary / "lengths.csv"]
        self.figure("fig2_native_lengths", "lengths", ["suite", "collect lengths"], *lengths)
        history = ["--suite", suite, "--history", summary / "history.csv"]
        self.figure("learning_curves", "learning", ["suite", "collect history"], *history)
        data = ["--suite", suite, "--data", "results/data/toy"]
        self.figure("fig3_packing", "packing", ["suite", "prepare toy"], *data)
        self.figure("fig4_length_curves", "curves", with_intervals, *curves, *extra)
        self.figure("fig5_resolution_curves", "curves", with_intervals, *curves, *extra)
        self.figure("table1", "table", inputs, *curves)
        self.figure("verdict", "verdict", with_intervals, *curves, *extra, "--pairs", summary / "pairs.csv")

    def ablation(self, name: str) -> None:
        from elasticast.config import digest
        from elasticast.config.load_ablation import load_ablation

        ablation = load_ablation(name, "tiny")
        folder = self.out / "ablations" / name
        settings, file = f"settings {name}", folder / "ablation.yaml"
        call = lambda: cli("resolve", "--suite", "tiny", "--ablation", name, "--out", file)  # noqa: E731
        self.run(settings, "resolve", digest(ablation), [], [file], call)
        inputs = [settings]
        for variant, trained in ablation.trained.items():
            if f"train {trained} 0" not in self.jobs:
                self.train(trained, 0, ablation.run_config(variant, 0))
            out = folder / "runs" / variant
            sweeps = {n: e.model_dump() for n, e in ablation.sweep(variant).items()}
            job, model = f"evaluate {name} {variant}", self.out / "runs" / trained / "seed0"
            self.evaluate(job, f"train {trained} 0", "toy", model, out / "seed0", sweeps)
            predictions = {job: out / "seed0/predictions.h5"}
            resampled = self.resample(f"{name} {variant}", predictions, out / "resampled.h5")
            inputs += [job, f"train {trained} 0", resampled]
        self.figure("ablation", "ablation", inputs, "--ablation", file, "--runs", folder, name=f"ablation_{name}")


def write_project(root: Path) -> None:
    """Write scripts, settings and published weights of the pipeline to the current folder."""
    shutil.copytree(root / "paper_figures", "paper_figures", ignore=shutil.ignore_patterns("*.png", "*.pdf"))
    files = {f"datasets/{name}": value for name, value in SETTINGS["datasets"].items()}
    files |= {f"ablations/{name}": value for name, value in SETTINGS["ablations"].items()}
    files["suites/tiny"] = SETTINGS["suite"]
    for name, value in files.items():
        path = Path("config") / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False))
    _write_weights()


def _write_weights() -> None:
    """Write random weights in the layouts of AST and of the released ElasticAST."""
    import torch

    from elasticast.config.load_suite import load_suite
    from elasticast.models import build_model
    from tests.unit.models.layouts import ast, released_elastic

    suite = load_suite("tiny")
    layouts = {"published": ast, "like_released": released_elastic}
    for name, layout in layouts.items():
        torch.manual_seed(0)
        model = build_model(suite.run_config(name, 0), CLASSES)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        torch.save(layout(model.state_dict(), 1), f"{name}.pth")


def cli(*arguments: object) -> None:
    """Run a subcommand of `elasticast`."""
    from elasticast.cli import app

    app([str(argument) for argument in arguments], standalone_mode=False)


def run_script(name: str, *arguments: object) -> None:
    """Run a script of `paper_figures`."""
    spec = importlib.util.spec_from_file_location(name, f"paper_figures/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(argument) for argument in arguments])
