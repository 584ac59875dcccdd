"""Plan of a suite and its ablations: the training runs, the inputs of each run, and the figures.

`workflow/rules/common.smk` turns the plan into paths. Nothing here imports Snakemake or torch, or reads files of a
project.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from elasticast.config import Ablation, DatasetConfig, Evaluation, FrontEnd, RunConfig, Suite, deciding, digest
from elasticast.config.deciding import without_effect
from elasticast.config.evaluation import COSTED, PATCHES
from elasticast.config.model.own_code import allowed_file
from elasticast.config.run import INIT, RunSettings
from elasticast.provenance import code_digest, training_code

CURVES = ("max_frames", "compression")
"""Names of the x axes of the figures: length and resolution."""
_SHARES = set(COSTED) - set(PATCHES)


def front_end_name(front_end: FrontEnd) -> str:
    """Name of a front end in file names; runs with the same front end share the statistics computed with it."""
    return f"{front_end.kind}-{digest(front_end)}"


@dataclass(frozen=True)
class Needs:
    """Inputs of a training run.

    Attributes
    ----------
    dataset : str
        Dataset that it trains on.
    norm : str or None
        Name of the front end (a key of `Plan.front_ends`) whose normalisation statistics of `dataset` it uses. None if
        its settings give mean and standard deviation.
    splits : tuple of str
        Splits of `dataset` that it reads: ``train``, and the split that its weights are selected on.
    trained_first : tuple of str
        Training runs whose weights it starts from or learns from, and those that these adapted.
    """

    dataset: str
    norm: str | None
    splits: tuple[str, ...]
    trained_first: tuple[str, ...]


class Plan:
    """The training runs, evaluations and figures of a suite and its ablations.

    Parameters
    ----------
    suite : Suite
        The suite.
    ablations : dict of str to Ablation, optional
        Ablations of the suite, by name.

    Attributes
    ----------
    runs : dict of str to RunSettings
        Settings of every training run, by name: one run per experiment of the suite, and those of ablation variants
        that no experiment equals. Every run is trained once per seed.
    datasets : dict of str to DatasetConfig
        Every dataset that a run uses, by name.
    front_ends : dict of str to FrontEnd
        Every front end that a run uses, by `front_end_name`.
    """

    def __init__(self, suite: Suite, ablations: Mapping[str, Ablation] | None = None):
        self.suite, self.ablations = suite, dict(ablations or {})
        self.runs: dict[str, RunSettings] = dict(suite.runs)
        self.datasets: dict[str, DatasetConfig] = dict(suite.datasets)
        for ablation in self.ablations.values():
            for variant, settings in ablation.runs.items():
                run = self.runs.setdefault(ablation.trained[variant], settings)
                assert deciding(run) == deciding(settings), f"two runs are called {ablation.trained[variant]}"
            self.datasets = ablation.datasets | self.datasets
        self.front_ends: dict[str, FrontEnd] = {
            front_end_name(run.front_end): run.front_end for run in self.runs.values()
        }

    def needs(self, run: str) -> Needs:
        """Inputs of a training run.

        Parameters
        ----------
        run : str
            A key of `runs`.
        """
        settings = self.runs[run]
        select, first = settings.train.select, settings.trained_first.values()
        return Needs(
            dataset=settings.dataset,
            norm=None if settings.norm else front_end_name(settings.front_end),
            splits=("train", select.split) if select else ("train",),
            trained_first=tuple(dict.fromkeys(n for name in first for n in (name, *self.bases(name)))),
        )

    def bases(self, run: str) -> list[str]:
        """Training runs whose weights an adapted run needs whenever it is read; [] if it holds all of its weights."""
        start = self.runs[run].trained_first.get(INIT)
        if start is None or self.runs[run].model.adaptation is None:
            return []
        return [start, *self.bases(start)]

    def training_code(self, run: str) -> str:
        """Digest of the code that decides the weights of a training run."""
        return training_code(self.runs[run])

    def model_file(self, experiment: str, ablation: str | None = None) -> str | list[str]:
        """The file of the model's class, or [] if it is one of this package; parameters as in `run_of`."""
        path = allowed_file(self.runs[self.run_of(experiment, ablation)].model)
        return [] if path is None else str(path)

    def training_files(self, run: str) -> list[str]:
        """Files of the classes that a training runs: of its model, and of its teachers."""
        settings = self.runs[run]
        teachers = [other for key, other in settings.trained_first.items() if key != INIT]
        models = [settings.model, *(self.runs[teacher].model for teacher in teachers)]
        return list(dict.fromkeys(str(path) for path in map(allowed_file, models) if path is not None))

    def deciding_settings(self, run: str, seed: int) -> str:
        """The settings that decide the weights of a training run, as JSON."""
        return json.dumps(deciding(self.run_config(run, seed)))

    def settings_without_effect(self, run: str) -> str:
        """The settings that cannot change the weights of a training run, as JSON."""
        return json.dumps(without_effect(self.runs[run]))

    def prepare_code(self, dataset: str) -> str:
        """Digest of the code that prepares a dataset: the code for all datasets, and the modules of this one."""
        return code_digest("prepare", *self.datasets[dataset].code())

    def run_config(self, run: str, seed: int) -> RunConfig:
        """All settings of a training run with one seed."""
        return RunConfig.of(self.runs[run], run, seed)

    def run_of(self, experiment: str, ablation: str | None = None) -> str:
        """Name of the training run of an experiment, or of a variant of an ablation.

        Parameters
        ----------
        experiment : str
            An experiment of the suite, or with `ablation` a variant of the ablation.
        ablation : str, optional
            A key of `ablations`.
        """
        return self.ablations[ablation].trained[experiment] if ablation else experiment

    def evaluations(self, experiment: str, ablation: str | None = None) -> dict[str, Evaluation]:
        """Evaluations of an experiment or variant, by name; parameters as in `run_of`."""
        return (self.ablations[ablation] if ablation else self.suite).sweep(experiment)

    def evaluated_splits(self, experiment: str, ablation: str | None = None) -> list[str]:
        """Splits that an experiment or variant is evaluated on; parameters as in `run_of`."""
        return list(dict.fromkeys(e.split for e in self.evaluations(experiment, ablation).values()))

    @property
    def released_weights(self) -> dict[str, str]:
        """Names of the weight files that the authors released, by experiment."""
        released = {name: experiment.released for name, experiment in self.suite.experiments.items()}
        return {name: series.weights for name, series in released.items() if series and series.weights}

    @property
    def has_released_curves(self) -> bool:
        """Whether the authors released a curve for any experiment."""
        return any(experiment.released for experiment in self.suite.experiments.values())

    @property
    def curves(self) -> list[str]:
        """The x axes in `CURVES` for which any experiment has a curve on the test split."""
        return [x_name for x_name in CURVES if any(self.suite.curve(name, x_name) for name in self.suite.experiments)]

    @property
    def packed_dataset(self) -> str | None:
        """Dataset of the packed batch in figure 3: that of the first model that packs clips of native length."""
        name = self.suite.packed_experiment()
        return None if name is None else self.suite.runs[name].dataset

    @property
    def figures(self) -> list[str]:
        """Names of the figures and tables that the suite has, such as ``fig1`` to ``fig5``, ``table1``, ``verdict``."""
        experiments = self.suite.experiments
        present = {
            "fig1": "max_frames" in self.curves,
            "fig2": True,
            "fig3": self.packed_dataset is not None,
            "fig4": "max_frames" in self.curves,
            "fig5": "compression" in self.curves,
            "learning_curves": True,
            "patch_sizes": any(self.suite.curve(name, x_name) for name in experiments for x_name in PATCHES),
            "zoo": any(self.suite.curve(name, x_name) for name in experiments for x_name in _SHARES),
            "table1": True,
            "verdict": bool(self.suite.claims) or self.has_released_curves,
        }
        return [name for name, is_present in present.items() if is_present]
