# `snakemake released`: the authors' weights over the paper's sweeps, without any training, beside the released curves.


localrules:
    collect_released,
    released,


rule evaluate_released:
    # the settings of the first seed's run say which clips are shown, and how
    input:
        weights=released_weights,
        run=rules.configure.output[0].replace("{seed}", str(SUITE.seeds[0])),
        sweeps=rules.configure_sweeps.output[0].replace("{seed}", str(SUITE.seeds[0])),
        stores=measured_splits,
        manifest=prepared("manifest.parquet"),
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
    input:
        expand(
            rules.evaluate_released.output.metrics, experiment=list(RELEASED_WEIGHTS)
        ),
    output:
        f"{SUITE_DIR}/released/metrics.csv",
    log:
        f"{SUITE_DIR}/logs/collect_released.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["collect"],
    shell:
        "python -m elasticast collect metrics {input:q} --out {output:q} 2> {log:q}"


use rule fig1 as released with:
    input:
        script="paper_figures/verdict.py",
        metrics=rules.collect_released.output[0],
        released=released_curves,
        suite=rules.resolved_suite.output[0],
    output:
        f"{FIGURE_DIR}/released.csv",
        f"{FIGURE_DIR}/released_claims.csv",
        f"{FIGURE_DIR}/released.md",
        f"{FIGURE_DIR}/released.tex",
    log:
        f"{SUITE_DIR}/logs/released.log",
    params:
        out=subpath(output[0], strip_suffix=".csv"),
        # our arithmetic on their weights: other libraries and devices move a score by less
        options=lambda wildcards, input: f"{beside_options(wildcards, input)} --released-weights --tolerance 0.1",
        code=CODE["verdict"],
