# One evaluation job per training run: it loads the model once, and computes the log-mel of each clip once.

import json


localrules:
    configure_sweeps,
    collect_metrics,
    intervals,


rule configure_sweeps:
    """Settings of the evaluations of a run."""
    output:
        f"{RUN_DIR}/sweeps.yaml",
    log:
        f"{SUITE_DIR}/logs/configure_sweeps_{{experiment}}_seed{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda wildcards: json.dumps(
            {
                "suite": SUITE.name,
                "evaluations": {
                    name: evaluation.model_dump()
                    for name, evaluation in evaluations(wildcards).items()
                },
            }
        ),
    shell:
        "python -m elasticast configure --settings {params.settings:q} --out {output:q} 2> {log:q}"


rule evaluate:
    """Evaluate a trained run on all its sweeps."""
    input:
        weights=rules.train.output.weights,
        model=rules.train.output.model,
        trained=rules.train.output.record,
        sweeps=rules.configure_sweeps.output[0],
        stores=measured_splits,
        manifest=prepared("manifest.parquet"),
        classes=prepared("classes.json"),
        summary=prepared("summary.json"),
        model_file=lambda wildcards: PLAN.model_file(*evaluated(wildcards)),
        bases=base_weights,
    output:
        metrics=f"{RUN_DIR}/metrics.csv",
        predictions=f"{RUN_DIR}/predictions.h5",
        record=f"{RUN_DIR}/evaluation.json",
    log:
        f"{SUITE_DIR}/logs/evaluate_{{experiment}}_seed{{seed}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/evaluate_{{experiment}}_seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: SETTINGS.train_threads
    resources:
        mem_mb=1500,
        runtime=240,
        gpus=min(SETTINGS.train_gpus, 1),
    params:
        run=subpath(input.weights, parent=True),
        data=subpath(input.manifest, parent=True),
        out=subpath(output.metrics, parent=True),
        model_file=model_file_option,
        code=CODE["evaluate"],
    message:
        "Evaluating {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "python -m elasticast evaluate --model {params.run:q} --config {input.sweeps:q} --data {params.data:q} --out {params.out:q}"
        " {params.model_file:q} --threads {threads} 2>&1 | tee -i {log:q}"


rule collect_metrics:
    """All scores of the suite in one table."""

    # With `partial`, runs that were trained again and not yet evaluated again are left out.
    input:
        metrics=existing(every_run(rules.evaluate.output.metrics)),
        records=existing(every_run(rules.evaluate.output.record)),
    output:
        metrics=report(
            f"{SUMMARY_DIR}/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "All metrics"},
        ),
        record=f"{SUMMARY_DIR}/metrics.json",
    log:
        f"{SUITE_DIR}/logs/collect_metrics.log",
    conda:
        "../../environment.yml"
    params:
        partial="--partial" if SETTINGS.partial else "",
        code=CODE["collect"],
    shell:
        "python -m elasticast collect metrics {input.metrics:q} --out {output.metrics:q} {params.partial:q} 2> {log:q}"


rule resample:
    """Resample the scores of an experiment over clips, for intervals."""

    # One job per experiment. All experiments of a dataset resample the same clips, so that they can be compared.
    input:
        predictions=expand(
            rules.evaluate.output.predictions, seed=SUITE.seeds, allow_missing=True
        ),
        records=expand(
            rules.evaluate.output.record, seed=SUITE.seeds, allow_missing=True
        ),
    output:
        resampled=f"{SUITE_DIR}/runs/{{experiment}}/resampled.h5",
        record=f"{SUITE_DIR}/runs/{{experiment}}/resampled.json",
    log:
        f"{SUITE_DIR}/logs/resample_{{experiment}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/resample_{{experiment}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        code=CODE["intervals"],
    message:
        "Resampling {wildcards.experiment}"
    shell:
        "python -m elasticast resample {input.predictions:q} --out {output.resampled:q} --threads {threads} 2>&1 | tee -i {log:q}"


rule intervals:
    """Confidence intervals and paired comparisons."""
    input:
        resampled=expand(
            rules.resample.output.resampled, experiment=list(SUITE.experiments)
        ),
        records=expand(rules.resample.output.record, experiment=list(SUITE.experiments)),
    output:
        intervals=report(
            f"{SUITE_DIR}/summary/intervals.csv",
            caption="../report/intervals.rst",
            category="Tables",
            labels={"table": "Confidence intervals"},
        ),
        pairs=report(
            f"{SUITE_DIR}/summary/pairs.csv",
            caption="../report/pairs.rst",
            category="Tables",
            labels={"table": "Models against each other"},
        ),
        records=[
            f"{SUITE_DIR}/summary/intervals.json",
            f"{SUITE_DIR}/summary/pairs.json",
        ],
    log:
        f"{SUITE_DIR}/logs/intervals.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["intervals"],
        references=[word for name in SUITE.references for word in ("--reference", name)],
    shell:
        "python -m elasticast intervals {input.resampled:q} --out {output.intervals:q} --pairs {output.pairs:q}"
        " {params.references:q} 2> {log:q}"
