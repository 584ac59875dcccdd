# Helpers of all stages; no rules.

import json
import shlex
from functools import cache
from glob import glob
from pathlib import Path

from snakemake.exceptions import WorkflowError

from elasticast.config import RunConfig, digest
from elasticast.config.load_ablation import (
    ablation_files,
    load_ablation,
    load_ablations,
)
from elasticast.config.load_suite import load_beside, load_suite, load_workflow_config
from elasticast.errors import ConfigError
from elasticast.provenance import STAGES, code_digest, training_code

try:
    SETTINGS = load_workflow_config(config)
    SUITE = load_suite(SETTINGS.suite)
    BESIDE = load_beside(SETTINGS, SUITE)
    ABLATIONS, _ = load_ablations(SUITE)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = SETTINGS.results
SUITE_DIR = f"{RESULTS}/{SUITE.name}"
RUN_DIR = f"{SUITE_DIR}/runs/{{experiment}}/seed{{seed}}"
DATA_DIR = f"{RESULTS}/data/{{dataset}}"
# what is drawn of the runs that exist never takes the place of what is drawn of all
SUMMARY = "partial" if SETTINGS.partial else "summary"
SUMMARY_DIR = f"{SUITE_DIR}/{SUMMARY}"
FIGURES = f"paper_figures/{SUITE.name}"
FIGURE_DIR = f"{FIGURES}/partial" if SETTINGS.partial else FIGURES
# nor does what shows two suites take the place of what shows one
CURVE_DIR = f"{FIGURE_DIR}/beside_{BESIDE.name}" if BESIDE else FIGURE_DIR
BESIDE_RELEASED = any(e.released for e in SUITE.experiments.values())
RELEASED_CURVES = "paper_figures/reference/released_curves.csv"
# experiments that a file of the authors' weights can stand for, and that file
RELEASED_WEIGHTS = {
    name: experiment.released.weights
    for name, experiment in SUITE.experiments.items()
    if experiment.released and experiment.released.weights
}
# of no one but the user: git and `make lint` leave them alone
CUSTOM_RULES = sorted(glob("workflow/custom/*.smk")) if SETTINGS.custom else []
CODE = {stage: code_digest(stage) for stage in STAGES}
# every training run and dataset there is: of the suite's experiments, and of the ablations' variants
RUNS = {
    **{
        ablation.trained[variant]: run
        for ablation in ABLATIONS.values()
        for variant, run in ablation.runs.items()
    },
    **SUITE.runs,
}
DATASETS = {
    k: v for a in ABLATIONS.values() for k, v in a.datasets.items()
} | SUITE.datasets


@cache
def prepare_code(dataset):
    """Digest of the code that prepares a dataset: what all share, and its own."""
    return code_digest("prepare", *DATASETS[dataset].code())


@cache
def listed_ids(dataset):
    """Digest of the file that says which clips of a dataset are used, where there is one; not where it lies."""
    path = Path(SETTINGS.data_root, DATASETS[dataset].ids or "")
    return digest(path.read_text()) if path.is_file() else None


def stats_clips(wildcards):
    """How many clips statistics are taken of, as an option; none: all of them."""
    clips = DATASETS[wildcards.dataset].stats_clips
    return "" if clips is None else f"--clips {clips}"


def released_statistics(wildcards):
    """Option with the module of a dataset, whose released statistics its own are compared with; not for twins."""
    dataset = DATASETS[wildcards.dataset]
    return "" if getattr(dataset, "twin", None) else f"--module {dataset.module}"


def shards_of(wildcards):
    """The shares of a dataset's decoding."""
    shards = DATASETS[wildcards.dataset].shards
    return [
        f"{DATA_DIR}/shards/{k}-of-{shards}.done".format(dataset=wildcards.dataset)
        for k in range(1, shards + 1)
    ]


def front_end_name(run):
    """Name of a run's front end in file names: what is computed with it is shared by all runs that have it."""
    return f"{run.front_end.kind}-{digest(run.front_end)}"


FRONT_ENDS = {front_end_name(run): run.front_end for run in RUNS.values()}
# figures show the test split
SWEPT = {
    x_name
    for x_name in ("max_frames", "compression")
    for name in SUITE.experiments
    if SUITE.curve(name, x_name)
}
# fig. 3 packs a batch of the first experiment that trains at native length
PACKED = [
    run.dataset
    for run in SUITE.runs.values()
    if run.view.frames == "native" and run.model.kind == "elasticast"
]
PACKED_DATASET = PACKED[0] if PACKED else next(iter(SUITE.datasets))


def one_of(names):
    """What a wildcard of a run may be; with `partial` nothing is made of one, and what lies there is taken as it is."""
    return "(?!)" if SETTINGS.partial else "|".join(names)


wildcard_constraints:
    dataset="|".join(DATASETS),
    experiment=one_of(RUNS),
    ablation="|".join(ABLATIONS) or "(?!)",
    variant="(?!)" if SETTINGS.partial else r"[\w-]+",
    seed=r"\d+",
    shard=r"\d+",
    shards=r"\d+",


def unique(items):
    """`items` without repetitions, in their order."""
    return list(dict.fromkeys(items))


def every_run(pattern):
    """`pattern` for each experiment and seed of the suite, in the suite's order."""
    return expand(pattern, experiment=list(SUITE.experiments), seed=SUITE.seeds)


def finished(files):
    """All files; with `partial` those that are there."""
    return [f for f in files if Path(f).is_file()] if SETTINGS.partial else files


def finished_runs(pattern):
    """`pattern` for each experiment and seed of the suite; with `partial`, where the file is there."""
    return finished(every_run(pattern))


def released_curves(_):
    """The authors' curves, for suites with experiments that have one."""
    return [RELEASED_CURVES] if BESIDE_RELEASED else []


def other_suite(_):
    """The suite beside ours as run, and its metrics; nothing here makes them."""
    if BESIDE is None:
        return []
    folder = f"{RESULTS}/{BESIDE.name}/{SUMMARY}"
    files = [f"{folder}/suite.yaml", f"{folder}/metrics.csv"]
    if missing := [file for file in files if not Path(file).is_file()]:
        partial = " partial=true" if SETTINGS.partial else ""
        raise WorkflowError(
            f"config/config.yaml: beside: {BESIDE.name!r}: {missing[0]} does not exist. It is made, with the other "
            f"settings as here, by: snakemake summary --config suite={BESIDE.name}{partial}"
        )
    return files


def beside_options(_, input):
    """What stands beside our means in figures and verdict, as options of a script: the inputs of these names."""
    there = {
        name: input.get(name) for name in ("released", "intervals", "pairs", "beside")
    }
    return " ".join(
        f"--{name} {shlex.join([files] if isinstance(files, str) else files)}"
        for name, files in there.items()
        if files
    )


def released_weights(wildcards):
    """The authors' weights that stand for the experiment at hand."""
    if SETTINGS.released_weights is None:
        raise WorkflowError(
            "config/config.yaml: released_weights: say in which folder the authors' weights lie, for example "
            "--config released_weights=/weights; docs/paper.md names the files"
        )
    return f"{SETTINGS.released_weights}/{RELEASED_WEIGHTS[wildcards.experiment]}"


def run_at_hand(wildcards):
    """Settings of the run at hand: an experiment's, or those behind a variant of an ablation."""
    if "variant" in wildcards.keys():
        return ABLATIONS[wildcards.ablation].runs[wildcards.variant]
    return RUNS[wildcards.experiment]


def sweeps_at_hand(wildcards):
    """Evaluations, by name, of the experiment or variant at hand."""
    if "variant" in wildcards.keys():
        return ABLATIONS[wildcards.ablation].sweep(wildcards.variant)
    return SUITE.sweep(wildcards.experiment)


def prepared(name):
    """Input function: a file of the prepared dataset of the run at hand."""
    return lambda wildcards: f"{DATA_DIR}/{name}".format(
        dataset=run_at_hand(wildcards).dataset
    )


def norm_of(run):
    """The file with the normalisation statistics that a run uses; none where its settings say them."""
    if run.norm:
        return []
    return f"{DATA_DIR}/norm-{front_end_name(run)}.json".format(dataset=run.dataset)


def norm_option(wildcards, input):
    """The file with the normalisation statistics, as an option."""
    return f"--norm {shlex.quote(input.norm)}" if input.norm else ""


def norm_sources():
    """Where the normalisation of every experiment is said: in a file of statistics, or in its first run's settings."""
    settings = f"{RUN_DIR}/config.yaml"
    return unique(
        norm_of(run) or settings.format(experiment=name, seed=SUITE.seeds[0])
        for name, run in SUITE.runs.items()
    )


def measured_splits(wildcards):
    """Stores of the splits that the run at hand is evaluated on."""
    splits = unique(sweep.split for sweep in sweeps_at_hand(wildcards).values())
    return [prepared(f"{split}.h5")(wildcards) for split in splits]


def selection_split(wildcards):
    """Store of the split that the weights of the run at hand are chosen on, where they are."""
    select = RUNS[wildcards.experiment].train.select
    return prepared(f"{select.split}.h5")(wildcards) if select else []


def starting_weights(wildcards):
    """The trained run that the one at hand starts from, where it does."""
    start = run_at_hand(wildcards).starts_from
    return (
        f"{RUN_DIR}/model.safetensors".format(experiment=start, seed=wildcards.seed)
        if start
        else []
    )


def train_code(wildcards):
    """Digest of the code that decides the weights of the run at hand."""
    return training_code(RUNS[wildcards.experiment])


def run_settings(wildcards):
    """What decides the weights of the run at hand; a label or a colour is not part of it."""
    run = RUNS[wildcards.experiment]
    return RunConfig.of(
        run, wildcards.experiment, int(wildcards.seed)
    ).model_dump_json()


def sweep_settings(wildcards):
    """What is measured on the run at hand."""
    sweeps = {n: sweep.model_dump() for n, sweep in sweeps_at_hand(wildcards).items()}
    return json.dumps({"suite": SUITE.name, "evaluations": sweeps})


def figure(name, caption, title, folder=FIGURE_DIR):
    """The PDF and PNG of a figure, the PNG shown in the report."""
    shown = report(
        f"{folder}/{name}.png",
        caption=caption,
        category="Figures",
        labels={"figure": title},
    )
    return [shown, f"{folder}/{name}.pdf"]


def trained(pattern):
    """Input function: `pattern` of the training run behind a variant."""
    return lambda wildcards: pattern.format(
        experiment=ABLATIONS[wildcards.ablation].trained[wildcards.variant],
        seed=wildcards.seed,
    )


def of_all(pattern):
    """Input function: `pattern` for each variant, training run and seed of an ablation."""

    def files(wildcards):
        ablation = ABLATIONS[wildcards.ablation]
        found = expand(
            pattern,
            ablation=ablation.name,
            variant=list(ablation.runs),
            experiment=unique(ablation.trained.values()),
            seed=ablation.seeds,
        )
        return finished(unique(found))

    return files


def of_ablation(name):
    """What one ablation comes to; for one that is not for this suite, the reason why."""
    if name in ABLATIONS:
        return [file.format(ablation=name) for file in rules.ablation.output]

    def refuse(_):
        try:
            load_ablation(name, SUITE.name)
        except ConfigError as error:
            raise WorkflowError(str(error)) from None

    return refuse
