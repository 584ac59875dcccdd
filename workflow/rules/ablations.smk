# Ablations, config/ablations/NAME.yaml: `snakemake ablation_NAME` makes the runs, tables and figure of one, `snakemake
# ablations` those of all that are for the suite. Trainings are those of train.smk; runs that are in the suite, or in
# another ablation, are not repeated.

ABLATION_DIR = f"{SUITE_DIR}/ablations/{{ablation}}"
VARIANT_DIR = f"{ABLATION_DIR}/runs/{{variant}}"
ABLATION_FIGURES = f"{FIGURE_DIR}/ablations"


localrules:
    resolved_ablation,
    configure_variant,
    ablation,
    ablations,


rule resolved_ablation:
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


use rule evaluate as evaluate_variant with:
    input:
        weights=trained(rules.train.output.weights),
        model=trained(rules.train.output.model),
        sweeps=rules.configure_variant.output[0],
        stores=measured_splits,
        manifest=prepared("manifest.parquet"),
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


use rule resample as resample_variant with:
    input:
        lambda wildcards: expand(
            rules.evaluate_variant.output.predictions,
            ablation=wildcards.ablation,
            variant=wildcards.variant,
            seed=ABLATIONS[wildcards.ablation].seeds,
        ),
    output:
        f"{VARIANT_DIR}/resampled.h5",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/resample_{{variant}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/ablations/{{ablation}}/resample_{{variant}}.tsv"
    message:
        "Resampling {wildcards.variant} of {wildcards.ablation}"


rule ablation:
    input:
        script="paper_figures/ablation.py",
        ablation=rules.resolved_ablation.output[0],
        metrics=of_all(rules.evaluate_variant.output.metrics),
        resampled=of_all(rules.resample_variant.output[0]),
        records=of_all(rules.train.output.record),
    output:
        report(
            f"{ABLATION_FIGURES}/{{ablation}}.png",
            caption="../report/ablation.rst",
            category="Ablations",
            labels={"ablation": "{ablation}", "what": "figure"},
        ),
        f"{ABLATION_FIGURES}/{{ablation}}.pdf",
        f"{ABLATION_FIGURES}/{{ablation}}.csv",
        report(
            f"{ABLATION_FIGURES}/{{ablation}}_table.csv",
            caption="../report/ablation_table.rst",
            category="Ablations",
            labels={"ablation": "{ablation}", "what": "table"},
        ),
        f"{ABLATION_FIGURES}/{{ablation}}_table.md",
        f"{ABLATION_FIGURES}/{{ablation}}_table.tex",
        caption=f"{ABLATION_FIGURES}/{{ablation}}.rst",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/figure.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        runs=subpath(input.ablation, parent=True),
        code=CODE["ablation"],
    shell:
        "python {input.script} --ablation {input.ablation:q} --runs {params.runs:q} --out {params.out:q} 2> {log:q}"


# `ablation_NAME` for each: a target as short as a figure's
for path in ablation_files():

    rule:
        name:
            f"ablation_{path.stem}"
        input:
            of_ablation(path.stem),
        localrule: True


rule ablations:
    input:
        [of_ablation(name) for name in ABLATIONS],
