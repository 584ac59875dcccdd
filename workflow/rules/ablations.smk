# Ablations, config/ablations/NAME.yaml: `snakemake ablation_NAME` makes the runs, tables and figure of one ablation,
# `snakemake ablations` those of all ablations of the suite. The rules of train.smk train the variants. Variants with the
# settings of an experiment of the suite, or of a variant of another ablation, share its run.

from elasticast.config.load_ablation import ablation_files

ABLATION_DIR = f"{SUITE_DIR}/ablations/{{ablation}}"
VARIANT_DIR = f"{ABLATION_DIR}/runs/{{variant}}"


localrules:
    resolved_ablation,
    configure_variant,
    ablation,
    ablations,


rule resolved_ablation:
    """All settings of an ablation in one file."""
    output:
        f"{ABLATION_DIR}/ablation.yaml",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/resolved.log",
    conda:
        "../../environment.yml"
    params:
        suite=SUITE.name,
        settings=lambda wildcards: digest(ABLATIONS[wildcards.ablation]),
    shell:
        "python -m elasticast resolve --suite {params.suite:q} --ablation {wildcards.ablation:q} --out {output:q} 2> {log:q}"


use rule configure_sweeps as configure_variant with:
    output:
        f"{VARIANT_DIR}/seed{{seed}}/sweeps.yaml",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/configure_variant_{{variant}}_seed{{seed}}.log",


describe(
    "configure_variant", "Settings of the evaluations of a variant of an ablation."
)


use rule evaluate as evaluate_variant with:
    input:
        weights=variant_run(rules.train.output.weights),
        model=variant_run(rules.train.output.model),
        trained=variant_run(rules.train.output.record),
        sweeps=rules.configure_variant.output[0],
        stores=measured_splits,
        manifest=prepared("manifest.parquet"),
        classes=prepared("classes.json"),
        summary=prepared("summary.json"),
        model_file=lambda wildcards: PLAN.model_file(*evaluated(wildcards)),
        bases=base_weights,
    output:
        metrics=f"{VARIANT_DIR}/seed{{seed}}/metrics.csv",
        predictions=f"{VARIANT_DIR}/seed{{seed}}/predictions.h5",
        record=f"{VARIANT_DIR}/seed{{seed}}/evaluation.json",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/evaluate_variant_{{variant}}_seed{{seed}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/ablations/{{ablation}}/evaluate_variant_{{variant}}_seed{{seed}}.tsv"
    message:
        "Evaluating {wildcards.variant} of {wildcards.ablation}, seed {wildcards.seed}"


describe("evaluate_variant", "Evaluate a trained variant of an ablation.")


use rule resample as resample_variant with:
    input:
        predictions=every_seed(rules.evaluate_variant.output.predictions),
        records=every_seed(rules.evaluate_variant.output.record),
    output:
        resampled=f"{VARIANT_DIR}/resampled.h5",
        record=f"{VARIANT_DIR}/resampled.json",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/resample_{{variant}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/ablations/{{ablation}}/resample_{{variant}}.tsv"
    message:
        "Resampling {wildcards.variant} of {wildcards.ablation}"


describe("resample_variant", "Resample the scores of a variant of an ablation.")


rule ablation:
    """Tables and figure of an ablation."""
    input:
        script="paper_figures/ablation.py",
        ablation=rules.resolved_ablation.output[0],
        metrics=every_variant(rules.evaluate_variant.output.metrics),
        evaluations=every_variant(rules.evaluate_variant.output.record),
        resampled=every_variant(rules.resample_variant.output.resampled),
        resampled_records=every_variant(rules.resample_variant.output.record),
        runs=every_variant(rules.train.output.record),
    output:
        report(
            f"{FIGURE_DIR}/ablations/{{ablation}}.png",
            caption="../report/ablation.rst",
            category="Ablations",
            labels={"ablation": "{ablation}", "what": "figure"},
        ),
        f"{FIGURE_DIR}/ablations/{{ablation}}.pdf",
        f"{FIGURE_DIR}/ablations/{{ablation}}.csv",
        report(
            f"{FIGURE_DIR}/ablations/{{ablation}}_table.csv",
            caption="../report/ablation_table.rst",
            category="Ablations",
            labels={"ablation": "{ablation}", "what": "table"},
        ),
        f"{FIGURE_DIR}/ablations/{{ablation}}_table.md",
        f"{FIGURE_DIR}/ablations/{{ablation}}_table.tex",
        caption=f"{FIGURE_DIR}/ablations/{{ablation}}.rst",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/figure.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        folder=subpath(input.ablation, parent=True),
        partial="--partial" if SETTINGS.partial else "",
        code=CODE["ablation"],
    shell:
        "python {input.script:q} --ablation {input.ablation:q} --runs {params.folder:q} --out {params.out:q}"
        " {params.partial:q} 2> {log:q}"


# one rule `ablation_NAME` per file, valid or not: the target of an invalid file reports its mistakes
for ablation in (path.stem for path in ablation_files()):
    if not name_error(ablation):

        rule:
            name:
                f"ablation_{ablation}"
            input:
                ablation_results(ablation),
            localrule: True

        describe(f"ablation_{ablation}", ablation_title(ablation))


rule ablations:
    """All ablations of the suite."""
    input:
        every_ablation,
