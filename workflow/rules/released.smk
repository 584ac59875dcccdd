# `snakemake released`: evaluates the authors' weights, without training, and compares them with the released curves.


localrules:
    collect_released,
    released,


rule evaluate_released:
    """Evaluate the authors' weights as one experiment."""

    # Clips are prepared for the model with the settings of the first seed's run.
    input:
        weights=released_weights,
        run=rules.configure.output[0].replace("{seed}", str(SUITE.seeds[0])),
        sweeps=rules.configure_sweeps.output[0].replace("{seed}", str(SUITE.seeds[0])),
        stores=measured_splits,
        manifest=prepared("manifest.parquet"),
        classes=prepared("classes.json"),
        summary=prepared("summary.json"),
    output:
        metrics=f"{SUITE_DIR}/released/{{experiment}}/metrics.csv",
        predictions=f"{SUITE_DIR}/released/{{experiment}}/predictions.h5",
        record=f"{SUITE_DIR}/released/{{experiment}}/evaluation.json",
    log:
        f"{SUITE_DIR}/logs/evaluate_released_{{experiment}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/evaluate_released_{{experiment}}.tsv"
    conda:
        "../../environment.yml"
    threads: SETTINGS.train_threads
    resources:
        mem_mb=3000,
        runtime=240,
        gpus=min(SETTINGS.train_gpus, 1),
    params:
        data=subpath(input.manifest, parent=True),
        out=subpath(output.metrics, parent=True),
        code=CODE["released"],
    message:
        "Evaluating the authors' weights as {wildcards.experiment}"
    shell:
        "python -m elasticast evaluate --model {input.weights:q} --run {input.run:q} --config {input.sweeps:q}"
        " --data {params.data:q} --out {params.out:q} --threads {threads} 2>&1 | tee -i {log:q}"


rule collect_released:
    """All scores of the authors' weights in one table."""
    input:
        metrics=every_released(rules.evaluate_released.output.metrics),
        records=every_released(rules.evaluate_released.output.record),
    output:
        metrics=f"{SUITE_DIR}/released/metrics.csv",
        record=f"{SUITE_DIR}/released/metrics.json",
    log:
        f"{SUITE_DIR}/logs/collect_released.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["collect"],
    shell:
        "python -m elasticast collect metrics {input.metrics:q} --out {output.metrics:q} 2> {log:q}"


rule released:
    """Evaluate the authors' weights and compare with the released values."""
    input:
        script="paper_figures/verdict.py",
        metrics=rules.collect_released.output.metrics,
        metrics_record=rules.collect_released.output.record,
        released=released_curves,
        suite=rules.resolved_suite.output[0],
    output:
        f"{FIGURE_DIR}/released.csv",
        f"{FIGURE_DIR}/released_claims.csv",
        f"{FIGURE_DIR}/released.md",
        f"{FIGURE_DIR}/released.tex",
    log:
        f"{SUITE_DIR}/logs/released.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".csv"),
        code=CODE["verdict"],
    shell:
        # the tolerance is in percentage points; other library versions and devices change scores by less
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " --released {input.released:q} --released-weights --tolerance 0.1 2> {log:q}"
