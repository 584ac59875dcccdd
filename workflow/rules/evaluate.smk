# One evaluation job a trained run: the model is loaded once, each clip decoded once, each log-mel made once.


localrules:
    configure_sweeps,
    collect_metrics,


rule configure_sweeps:
    output:
        f"{RUN_DIR}/sweeps.yaml",
    log:
        f"{SUITE_DIR}/logs/configure_sweeps_{{experiment}}_seed{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        settings=sweep_settings,
    shell:
        "python -m elasticast configure --settings {params.settings:q} --out {output:q} 2> {log:q}"


rule evaluate:
    input:
        weights=rules.train.output.weights,
        model=rules.train.output.model,
        sweeps=rules.configure_sweeps.output[0],
        store=prepared("test.h5"),
        manifest=prepared("manifest.parquet"),
    output:
        metrics=f"{RUN_DIR}/metrics.csv",
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
        data=subpath(input.store, parent=True),
        out=subpath(output.metrics, parent=True),
        code=CODE["evaluate"],
    message:
        "Evaluating {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "python -m elasticast evaluate --model {params.run:q} --config {input.sweeps:q} --data {params.data:q} --out {params.out:q}"
        " --threads {threads} 2>&1 | tee -i {log:q}"


rule collect_metrics:
    input:
        finished_runs(rules.evaluate.output.metrics),
    output:
        report(
            f"{SUMMARY_DIR}/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "All metrics"},
        ),
    log:
        f"{SUITE_DIR}/logs/collect_metrics.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m elasticast collect metrics {input:q} --out {output:q} 2> {log:q}"
