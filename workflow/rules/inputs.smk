# Functions for inputs and params that only one rule file uses and that are too long for a lambda. They are here because
# `snakemake --lint` reports files that contain both functions and rules.

import shlex

from elasticast.config.load_ablation import load_ablation

# ---- data.smk


def ids_digest(dataset):
    """Digest of the content of the file in `ids`; None if the dataset uses all clips."""
    path = Path(SETTINGS.data_root, PLAN.datasets[dataset].ids or "")
    return digest(path.read_text()) if path.is_file() else None


# ---- report.smk


def norm_sources():
    """Files with the normalisation of each run: statistics, or settings that contain mean and standard deviation."""
    settings = f"{RUN_DIR}/config.yaml"
    return unique(
        norm_file(name) or settings.format(experiment=name, seed=SUITE.seeds[0])
        for name in SUITE.runs
    )


# ---- figures.smk


def other_suite(_):
    """Settings and metrics of the suite in `beside`. They must exist, because no rule makes them."""
    if SETTINGS.beside is None:
        return []
    folder = f"{RESULTS}/{SETTINGS.beside}/{Path(SUMMARY_DIR).name}"
    files = [f"{folder}/suite.yaml", f"{folder}/metrics.csv"]
    if missing := [file for file in files if not Path(file).is_file()]:
        partial = " partial=true" if SETTINGS.partial else ""
        raise WorkflowError(
            f"config/config.yaml: beside: {SETTINGS.beside!r}: {missing[0]} does not exist. To make it, run: "
            f"snakemake summary --config suite={SETTINGS.beside}{partial} (with all other settings unchanged)"
        )
    return files


def comparison_options(_, input):
    """Options of a script that name the inputs to compare our results with, such as ``--released FILE``."""
    names = ("released", "intervals", "pairs", "beside")
    files = {name: input.get(name) for name in names}
    return " ".join(
        f"--{name} {shlex.join([paths] if isinstance(paths, str) else paths)}"
        for name, paths in files.items()
        if paths
    )


def drawn_figures():
    """The figures and tables to draw. `partial` prepares no data, so it leaves out the figures of the data."""
    skipped = ("fig2", "fig3") if SETTINGS.partial else ()
    return [name for name in PLAN.figures if name not in skipped]


# ---- released.smk


def released_weights(wildcards):
    """The authors' weights for an experiment."""
    if SETTINGS.released_weights is None:
        raise WorkflowError(
            "config/config.yaml: released_weights: expected the folder that holds the authors' weights, for example "
            "--config released_weights=/weights; docs/paper.md names the files"
        )
    return f"{SETTINGS.released_weights}/{PLAN.released_weights[wildcards.experiment]}"


def released_metrics(_):
    """Metrics of the authors' weights, for each experiment that has released weights."""
    if not PLAN.released_weights:
        raise WorkflowError(
            f"config/suites/{SUITE.name}.yaml: no experiment has `released.weights`, which `snakemake released` evaluates"
        )
    return expand(
        rules.evaluate_released.output.metrics, experiment=list(PLAN.released_weights)
    )


# ---- ablations.smk


def variant_run(pattern):
    """Input function for the path from `pattern` for the training run of a variant."""
    return lambda wildcards: pattern.format(
        experiment=PLAN.run_of(wildcards.variant, wildcards.ablation),
        seed=wildcards.seed,
    )


def every_variant(pattern):
    """Input function for the paths from `pattern` for all variants, training runs and seeds of an ablation."""

    def files(wildcards):
        ablation = ABLATIONS[wildcards.ablation]
        paths = expand(
            pattern,
            ablation=ablation.name,
            variant=list(ablation.runs),
            experiment=unique(ablation.trained.values()),
            seed=ablation.seeds,
        )
        return existing(unique(paths))

    return files


def ablation_results(name):
    """Tables and figure of an ablation, or an input function that raises the error of its file."""
    if name in ABLATIONS:
        return [file.format(ablation=name) for file in rules.ablation.output]

    def raise_error(_):
        try:
            if name in ABLATION_ERRORS:
                raise ABLATION_ERRORS[name]
            # raises an error, because the ablation is for other suites
            load_ablation(name, SUITE.name)
        except ConfigError as error:
            raise WorkflowError(str(error)) from None

    return raise_error


def every_ablation(_):
    """Tables and figures of every ablation of the suite."""
    if ABLATION_ERRORS:
        problems = [p for error in ABLATION_ERRORS.values() for p in error.problems]
        raise WorkflowError(str(ConfigError(problems)))
    return [file for name in ABLATIONS for file in ablation_results(name)]
