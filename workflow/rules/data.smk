# Audio and annotations to manifest, waveform store and normalisation statistics.


rule prepare:
    # rejected.csv is written beside these and not declared: it has to outlive a failed job
    output:
        manifest=f"{DATA_DIR}/manifest.parquet",
        classes=f"{DATA_DIR}/classes.json",
        train=f"{DATA_DIR}/train.h5",
        test=f"{DATA_DIR}/test.h5",
        table=f"{DATA_DIR}/summary.csv",
        summary=f"{DATA_DIR}/summary.json",
    log:
        f"{RESULTS}/data/logs/prepare_{{dataset}}.log",
    benchmark:
        f"{RESULTS}/data/benchmarks/prepare_{{dataset}}.tsv"
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=720,
        # where the audio lies is no part of the result, and unlike in params a change here re-runs nothing
        data_root=SETTINGS.data_root,
    params:
        out=subpath(output.manifest, parent=True),
        settings=lambda wildcards: SUITE.datasets[wildcards.dataset].model_dump_json(),
        code=CODE["prepare"],
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m elasticast prepare --config config/datasets/{wildcards.dataset}.yaml --data-root {resources.data_root:q}"
        " --out {params.out:q} --workers {threads} 2>&1 | tee -i {log:q}"


rule stats:
    input:
        store=f"{DATA_DIR}/train.h5",
    output:
        f"{DATA_DIR}/norm-{{front_end}}.json",
    log:
        f"{RESULTS}/data/logs/stats_{{dataset}}_{{front_end}}.log",
    benchmark:
        f"{RESULTS}/data/benchmarks/stats_{{dataset}}_{{front_end}}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=240,
    params:
        data=subpath(input.store, parent=True),
        settings=lambda wildcards: json.dumps(FRONT_ENDS[wildcards.front_end]),
        code=CODE["stats"],
    message:
        "Normalisation statistics of {wildcards.dataset}"
    shell:
        "python -m elasticast stats --front-end {params.settings:q} --data {params.data:q} --out {output:q} 2> {log:q}"
