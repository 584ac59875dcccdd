# Settings, paths, and input functions that several rule files use; no rules. elasticast/plan.py determines the runs and
# what each of them needs.

import sys
from contextlib import redirect_stderr
from difflib import get_close_matches
from glob import glob
from io import StringIO
from os.path import relpath
from pathlib import Path

from snakemake.cli import get_argument_parser, parse_args
from snakemake.exceptions import WorkflowError
from snakemake.iocontainers import Wildcards
from snakemake.logging import logger

from elasticast import __version__ as VERSION
from elasticast.config import digest
from elasticast.config.load_ablation import load_ablations
from elasticast.config.load_suite import load_other_suite, load_suite
from elasticast.config.load_suite import WORKFLOW_SETTINGS, load_workflow_config
from elasticast.config.names import name_error
from elasticast.config.reading import read_yaml
from elasticast.errors import ConfigError, ElasticASTError, did_you_mean
from elasticast.jobs.messages import TerminalMessages, stored_seconds
from elasticast.jobs.scheduler import drop_default_rate_limit
from elasticast.plan import Plan
from elasticast.provenance import STAGES, code_digest, git_commit

try:
    read_yaml(Path("config/config.yaml"))  # Snakemake accepts keys that appear twice
    SETTINGS = load_workflow_config(config, WORKFLOW_SETTINGS)
    SUITE = load_suite(SETTINGS.suite)
    load_other_suite(SETTINGS, SUITE)  # raises an error if `beside` is not valid
    ABLATIONS, ABLATION_ERRORS = load_ablations(SUITE)
except ElasticASTError as error:
    raise WorkflowError(str(error)) from None

PLAN = Plan(SUITE, ABLATIONS)
CODE = {stage: code_digest(stage) for stage in STAGES}

RESULTS = SETTINGS.results
SUITE_DIR = f"{RESULTS}/{SUITE.name}"
RUN_DIR = f"{SUITE_DIR}/runs/{{experiment}}/seed{{seed}}"
DATA_DIR = f"{RESULTS}/data/{{dataset}}"
# with `partial`, tables and figures go to separate folders, so that they do not replace complete ones
SUMMARY_DIR = f"{SUITE_DIR}/{'partial' if SETTINGS.partial else 'summary'}"
FIGURE_DIR = (
    f"paper_figures/{SUITE.name}/partial"
    if SETTINGS.partial
    else f"paper_figures/{SUITE.name}"
)
# the page of the suite, and with `beside` the page that also has the other suite's curves
PAGE_DIR = "/".join(
    [SUITE_DIR]
    + ["partial"] * SETTINGS.partial
    + [f"beside_{SETTINGS.beside}"] * (SETTINGS.beside is not None)
)
PUBLISHED = f"docs/results/{SUITE.name}"
BENCH_DIR = f"{SUITE_DIR}/bench"
# `snakemake bench`: subcommand of `elasticast bench` to its options; together about a quarter of an hour on one quiet core
BENCHES = {
    "packing": "--model ti --lengths voxceleb --clips 4 --bucket 2 --row-tokens 2048 --way padded-longest --way bucketed "
    "--way rows-2048 --way one-by-one --rounds 5",
    "others": "--model ti --clips 4 --rounds 5",
    "frontend": "",
    "loader": "",
    "sweep": "",
    "scaling": "--seconds 10 --seconds 30 --seconds 60 --seconds 120",
}
BENCHES = {name: options.split() for name, options in BENCHES.items()}
# Git and `make lint` ignore this folder
CUSTOM_RULES = sorted(glob("workflow/custom/*.smk")) if SETTINGS.custom else []


def warn_about_ablations():
    """Log a warning for each ablation file that is not valid; its target reports the mistakes."""
    for name, error in ABLATION_ERRORS.items():
        logger.warning(
            f"config/ablations/{name}.yaml is not valid, so this ablation is left out; "
            f"{error if name_error(name) else f'`snakemake ablation_{name}` reports the mistakes'}"
        )


def warn_about_gpus():
    """Log a warning if the jobs of a cluster ask for no GPU, but runs need one."""
    needing = [n for n, run in SUITE.runs.items() if run.train.precision == "fp16"]
    if SETTINGS.train_gpus or not needing or "snakemake" not in sys.argv[0]:
        return
    # Snakemake has said already which profiles it reads
    with redirect_stderr(StringIO()):
        executor = parse_args(sys.argv[1:])[1].executor
    if executor in (None, "local", "dryrun", "touch"):
        return
    logger.warning(
        f"suite {SUITE.name!r}: {len(needing)} of {len(SUITE.runs)} experiments have train.precision: fp16, which needs "
        "a GPU, but with train_gpus: 0 their jobs ask the cluster for none; add: --config train_gpus=1"
    )


if workflow.is_main_process:  # the jobs of a cluster read the Snakefile again
    warn_about_ablations()
    warn_about_gpus()


# With `partial` it matches nothing, so that no run is started. It does not list the names: Snakemake would copy thousands
# of names for every file. Functions of inputs refuse unknown names, see `experiment_of`.
ANY_RUN = "(?!)" if SETTINGS.partial else r"[\w-]+"


wildcard_constraints:
    dataset="|".join(PLAN.datasets),
    experiment=ANY_RUN,
    ablation="|".join(ABLATIONS) or "(?!)",
    variant=ANY_RUN,
    seed=r"\d+",
    shard=r"\d+",
    shards=r"\d+",


def describe(rule, text):
    """Set the description in `snakemake --list` if a rule cannot have a docstring, as its code is that of another."""
    workflow.get_rule(rule).docstring = text


def show_short_messages():
    """Print one line per job and the time to go; `--verbose` and dry runs print all that Snakemake says."""
    settings = workflow.output_settings
    if not workflow.is_main_process or settings.verbose or settings.dryrun:
        return
    setup = ("configure", "configure_sweeps", "configure_variant", "resolved_suite")
    setup += ("resolved_ablation", "decoded", "all")
    names = [r.name for r in workflow.rules]
    short = [name for name in names if name in workflow._localrules]
    stored = stored_seconds(Path(SUITE_DIR) / "benchmarks", names)
    stored |= stored_seconds(Path(RESULTS) / "data/benchmarks", ("prepare", "stats"))
    texts = {r.name: r.docstring or "" for r in workflow.rules}
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(
                TerminalMessages(
                    handler, texts, setup=setup, short=short, stored=stored
                )
            )


def check_targets():
    """Raise an error that names similar targets, if a target is neither a rule nor a file that a rule makes."""
    # Snakemake gives the workflow its targets after it has read the Snakefile
    if not workflow.is_main_process or "snakemake" not in sys.argv[0]:
        return
    targets = get_argument_parser().parse_known_args(sys.argv[1:])[0].targets
    plain = [r for r in workflow.rules if not r.has_wildcards()]
    known = [r.name for r in plain] + [str(f) for r in plain for f in r.products()]
    for target in sorted(targets):
        path = target if Path(target).is_absolute() else relpath(target)
        makers = [r for r in workflow.rules if r.is_producer(path)]
        if makers:
            wildcards = Wildcards(fromdict=makers[0].get_wildcards(path))
            if {"experiment", "variant"} & set(wildcards.keys()):
                # in an input function, its error would come with a traceback
                experiment_of(wildcards)
        if makers or workflow.is_rule(target):
            continue
        hint = did_you_mean(target, known)
        name = target.removeprefix("ablation_")
        if name != target:
            hint += f"an ablation is a file, here config/ablations/{name}.yaml. "
        if "=" in target:
            hint = f"if it is a setting, write: --config {target}. "
        raise WorkflowError(
            f"{target!r}: there is no such rule, and suite {SUITE.name!r} has no such file; {hint}"
            "`snakemake --list` shows all rules"
        )


def unique(items):
    """Remove repeated items and keep the order."""
    return list(dict.fromkeys(items))


def every_run(pattern):
    """`pattern` for each experiment and seed of the suite."""
    return expand(pattern, experiment=list(SUITE.experiments), seed=SUITE.seeds)


def existing(files):
    """`files`; with `partial` only those that exist."""
    return [f for f in files if Path(f).is_file()] if SETTINGS.partial else files


def experiment_of(wildcards, names=PLAN.runs):
    """Arguments of `PLAN` methods for a job: its experiment, one of `names`, or its variant and ablation."""
    if "variant" in wildcards.keys():
        place, name = f"config/ablations/{wildcards.ablation}.yaml", wildcards.variant
        names, known = ABLATIONS[wildcards.ablation].runs, (name, wildcards.ablation)
    else:
        place, name = f"config/suites/{SUITE.name}.yaml", wildcards.experiment
        known = (name,)
    if name not in names:
        similar = get_close_matches(name, names) or list(names)[:10]
        raise WorkflowError(f"{place}: has no {name!r}, only: {', '.join(similar)} ...")
    return known


def evaluated(wildcards):
    """Like `experiment_of`; runs that only ablations have are not evaluated as experiments."""
    return experiment_of(wildcards, SUITE.experiments)


def needs(wildcards):
    """Inputs of the training run of a job."""
    return PLAN.needs(PLAN.run_of(*experiment_of(wildcards)))


def base_weights(wildcards):
    """Weights of other runs that are part of the model of a job's run, see `model.adapt`."""
    bases = PLAN.bases(PLAN.run_of(*experiment_of(wildcards)))
    return expand(f"{RUN_DIR}/model.safetensors", experiment=bases, seed=wildcards.seed)


def evaluations(wildcards):
    """Evaluations of an experiment or variant, by name."""
    return PLAN.evaluations(*evaluated(wildcards))


def prepared(name):
    """Input function: a file of the prepared dataset that a job's run uses."""
    return lambda wildcards: f"{DATA_DIR}/{name}".format(
        dataset=needs(wildcards).dataset
    )


def stores(wildcards, splits):
    """Waveform stores of `splits` of the dataset that a job's run uses."""
    return [prepared(f"{split}.h5")(wildcards) for split in splits]


def measured_splits(wildcards):
    """Waveform stores of the splits that an experiment or a variant is evaluated on."""
    return stores(wildcards, PLAN.evaluated_splits(*evaluated(wildcards)))


def model_file_option(_, input):
    """Options with the files of models whose classes are in files of yours."""
    files = input.get("model_file") or []
    return [
        word
        for path in ([files] if isinstance(files, str) else files)
        for word in ("--model-file", path)
    ]


def norm_file(run):
    """Normalisation statistics that a run uses; [] if its settings give mean and standard deviation."""
    needed = PLAN.needs(run)
    return (
        f"{DATA_DIR}/norm-{needed.norm}.json".format(dataset=needed.dataset)
        if needed.norm
        else []
    )


def released_curves(_):
    """The authors' curves, if they released one for any experiment of the suite."""
    return (
        "paper_figures/reference/released_curves.csv"
        if PLAN.has_released_curves
        else []
    )


def figure(name, caption, title, folder=FIGURE_DIR):
    """The PNG and PDF of a figure; the report contains the PNG."""
    png = report(
        f"{folder}/{name}.png",
        caption=caption,
        category="Figures",
        labels={"figure": title},
    )
    return [png, f"{folder}/{name}.pdf"]
