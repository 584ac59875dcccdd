# Functions of inputs and params that a single rule file uses and that are too long for a lambda. They are not in that
# file, because `snakemake --lint` refuses files with both functions and rules.

import json

from elasticast.checksums import file_sha256
from elasticast.config.load_ablation import load_ablation
from elasticast.config.run import OF_RUN
from elasticast.data.tables.changes import annotation_sums

# ---- data.smk


def lists_digest(dataset):
    """Checksums of the files that list the clips: `ids`, and the table or folders of your own recordings. None if there
    are none."""
    config, root = PLAN.datasets[dataset], Path(SETTINGS.data_root)
    ids = [file_sha256(root / f) for f in config.id_files() if (root / f).is_file()]
    return [*ids, *annotation_sums(config, root)] or None


def recipe_digest(dataset):
    """Digest of the settings and the code that prepare a dataset."""
    recipe = PLAN.datasets[dataset].recipe()
    return digest([recipe, lists_digest(dataset), PLAN.prepare_code(dataset)])


# ---- report.smk


def norm_sources():
    """One file per normalisation in use: statistics, or the settings of a run that give mean and standard deviation."""
    settings = f"{RUN_DIR}/config.yaml"
    return unique(
        norm_file(name) or settings.format(experiment=name, seed=SUITE.seeds[0])
        for name in SUITE.runs
    )


# ---- figures.smk


def other_suite(_, tables=("metrics",)):
    """Settings and tables of the suite in the setting `beside`. They must exist: no rule makes them."""
    if SETTINGS.beside is None:
        return []
    folder = f"{RESULTS}/{SETTINGS.beside}/{Path(SUMMARY_DIR).name}"
    files = [f"{folder}/suite.yaml", *(f"{folder}/{name}.csv" for name in tables)]
    needed = [*files, *(f"{folder}/{name}.json" for name in tables)]
    if missing := [file for file in needed if not Path(file).is_file()]:
        partial = " partial=true" if SETTINGS.partial else ""
        raise WorkflowError(
            f"config/config.yaml or --config: beside: {SETTINGS.beside!r}: {missing[0]} does not exist. To make it, run: "
            f"snakemake summary --config suite={SETTINGS.beside}{partial} (with all other settings unchanged)"
        )
    return files


def other_suite_and_runs(_):
    """Like :func:`other_suite`, with the table of its runs."""
    return other_suite(_, ("metrics", "runs"))


def comparison_options(_, input):
    """Options with the files that a figure compares our means with; inputs have the names of the options."""
    names = (
        "released",
        "intervals",
        "pairs",
        "beside",
        "runs",
        "history",
        "template",
    )
    files = {name: input.get(name) for name in names}
    return [
        word
        for name, paths in files.items()
        if paths
        for word in (f"--{name}", *([paths] if isinstance(paths, str) else paths))
    ]


def drawn_figures():
    """The figures and tables of the suite; with `partial`, which prepares no data, without those of the data."""
    skipped = ("fig2", "fig3") if SETTINGS.partial else ()
    return [name for name in PLAN.figures if name not in skipped]


# ---- redraw.smk


def published(script, *names):
    """Inputs of a published figure or table: its script, the settings, and those of the tables that exist."""
    files = {name: f"{PUBLISHED}/{name}.csv" for name in names}
    files |= {f"{name}_record": f"{PUBLISHED}/{name}.json" for name in names}
    found = {name: path for name, path in files.items() if Path(path).is_file()}
    needed = {
        "script": f"paper_figures/{script}.py",
        "suite": f"{PUBLISHED}/suite.yaml",
    }
    return {**needed, **found}


def published_curves(script, *names):
    """Like :func:`published`, with the metrics, their intervals and the authors' curves."""
    files = published(script, "metrics", "intervals", *names)
    return {**files, "released": released_curves(None)}


def redraw_rules():
    """The rules of the figures and tables whose data are published, by the file that each makes first."""
    without = {"fig3"}
    if not Path(f"{PUBLISHED}/lengths.csv").is_file():  # nothing has run
        without |= {"fig2", "learning_curves"}
    names = [name for name in PLAN.figures if name not in without]
    drawn = [getattr(rules, f"redraw_{name}") for name in names]
    return {str(made.output[0]): made for made in drawn}


def redrawn(_):
    """All outputs of :func:`redraw_rules`. The repository lacks the PDFs, so a new checkout draws every figure."""
    if not Path(f"{PUBLISHED}/published.json").is_file():
        raise WorkflowError(
            f"{PUBLISHED}/published.json: no such file: the results of suite {SUITE.name!r} are not published. To "
            f"publish them, run: elasticast publish {SUITE_DIR}"
        )
    return [path for made in redraw_rules().values() for path in made.output]


def drawn_from(_):
    """Data of each published figure and table, by its file, as JSON."""
    data = {
        picture: sorted(
            str(f) for f in made.input if Path(f).suffix in (".csv", ".yaml")
        )
        for picture, made in redraw_rules().items()
    }
    return json.dumps(data)


def published_ablation_data(wildcards):
    """The settings and tables of a published ablation."""
    folder = Path(PUBLISHED) / "ablations" / wildcards.ablation
    return [str(folder / "ablation.yaml"), *sorted(map(str, folder.glob("*.csv")))]


def published_ablation_figures(files):
    """The figures of all published ablations. The repository lacks the PDFs, so a new checkout draws every figure."""
    records = sorted(Path(PUBLISHED).glob("ablations/*/published.json"))
    return expand(files, ablation=[record.parent.name for record in records])


# ---- released.smk


def released_weights(wildcards):
    """File with the authors' weights for an experiment."""
    if SETTINGS.released_weights is None:
        raise WorkflowError(
            "config/config.yaml or --config: released_weights: expected the folder that holds the authors' weights, for example "
            "--config released_weights=/weights; docs/paper.md names the files"
        )
    return f"{SETTINGS.released_weights}/{PLAN.released_weights[wildcards.experiment]}"


def every_released(pattern):
    """Input function: `pattern` for each experiment with released weights."""

    def files(_):
        if not PLAN.released_weights:
            raise WorkflowError(
                f"config/suites/{SUITE.name}.yaml: no experiment has `released.weights`, which `snakemake released` "
                "requires"
            )
        return expand(pattern, experiment=list(PLAN.released_weights))

    return files


# ---- audits.smk


def audited_encoders():
    """Encoders to audit: those in the setting `audits`, else the first run of each experiment."""
    folder = RUN_DIR.replace("{seed}", str(SUITE.seeds[0]))
    names = [OF_RUN + name for name in SUITE.experiments]
    sources = names if SETTINGS.audits is None else SETTINGS.audits
    for name in sources:
        if name.startswith(OF_RUN) and name not in names:
            raise WorkflowError(
                f"config/config.yaml or --config: audits: {name!r}: suite {SUITE.name!r} has no such experiment; expected one of: "
                f"{', '.join(names)}"
            )
    return [
        folder.format(experiment=name.removeprefix(OF_RUN)) if name in names else name
        for name in sources
    ]


def audited_runs(file):
    """Input function: a file of each trained run that is audited."""
    return lambda _: existing(
        [
            f"{folder}/{file}"
            for folder in audited_encoders()
            if folder.startswith(f"{SUITE_DIR}/runs/")
        ]
    )


# ---- ablations.smk


def ablation_title(name):
    """Title of an ablation, or why the suite does not have it."""
    if name in ABLATIONS:
        return f"Ablation: {ABLATIONS[name].title}."
    if name in ABLATION_ERRORS:
        return f"config/ablations/{name}.yaml is not valid."
    return f"Ablation of other suites than {SUITE.name}."


def variant_run(pattern):
    """Input function: `pattern` for the training run of a variant."""
    return lambda wildcards: pattern.format(
        experiment=PLAN.run_of(wildcards.variant, wildcards.ablation),
        seed=wildcards.seed,
    )


def every_seed(pattern):
    """Input function: `pattern` for each seed of a variant."""
    return lambda wildcards: expand(
        pattern,
        ablation=wildcards.ablation,
        variant=wildcards.variant,
        seed=ABLATIONS[wildcards.ablation].seeds,
    )


def every_variant(pattern):
    """Input function: `pattern` for each variant, or its training run, and seed of an ablation."""

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
    """Tables and figure of an ablation; for an invalid one, an input function that raises its mistakes."""
    if name in ABLATIONS:
        return [file.format(ablation=name) for file in rules.ablation.output]

    def refuse(_):
        try:
            if name in ABLATION_ERRORS:
                raise ABLATION_ERRORS[name]
            # raises an error, because the ablation is for other suites
            load_ablation(name, SUITE.name)
        except ConfigError as error:
            raise WorkflowError(str(error)) from None

    return refuse


def every_ablation(_):
    """Tables and figures of every ablation of the suite."""
    if ABLATION_ERRORS:
        problems = [p for error in ABLATION_ERRORS.values() for p in error.problems]
        raise WorkflowError(str(ConfigError(problems)))
    return [file for name in ABLATIONS for file in ablation_results(name)]


def bench_data(wildcards, input):
    """Option with the folder of the data, for benchmarks that need data."""
    needs_data = wildcards.bench in ("loader", "sweep")
    return ["--data", str(Path(input.store).parent)] if needs_data else []
