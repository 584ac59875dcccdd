# Audio and annotations to manifest, waveform store and normalisation statistics.


localrules:
    decoded,


rule prepare_shard:
    # a share of the decoding, for datasets with `shards` above 1; the parts it makes are not declared: they outlive it
    output:
        touch(f"{DATA_DIR}/shards/{{shard}}-of-{{shards}}.done"),
    log:
        f"{RESULTS}/data/logs/prepare_{{dataset}}_{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{RESULTS}/data/benchmarks/prepare_{{dataset}}_{{shard}}-of-{{shards}}.tsv"
    conda:
        "../../environment.yml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=720,
        data_root=SETTINGS.data_root,
    params:
        out=subpath(output[0], ancestor=2),
        settings=lambda wildcards: json.dumps(DATASETS[wildcards.dataset].recipe()),
        ids=lambda wildcards: listed_ids(wildcards.dataset),
        code=lambda wildcards: prepare_code(wildcards.dataset),
    message:
        "Decoding share {wildcards.shard} of {wildcards.shards} of {wildcards.dataset}"
    shell:
        "python -m elasticast prepare --dataset {wildcards.dataset} --root {resources.data_root:q} --out {params.out:q}"
        " --workers {threads} --shard {wildcards.shard}/{wildcards.shards} 2>&1 | tee -i {log:q}"


rule decoded:
    # one name for all shares, so that dividing the work otherwise prepares nothing anew
    input:
        shards_of,
    output:
        touch(f"{DATA_DIR}/shards/all.done"),
    log:
        f"{RESULTS}/data/logs/decoded_{{dataset}}.log",
    conda:
        "../../environment.yml"
    shell:
        ": 2> {log:q}"


rule prepare:
    # rejected.csv and the decoded parts are written beside these and not declared: they have to outlive a failed job
    input:
        shards=lambda wildcards: (
            []
            if DATASETS[wildcards.dataset].shards == 1
            else ancient(rules.decoded.output[0])
        ),
    output:
        manifest=f"{DATA_DIR}/manifest.parquet",
        classes=f"{DATA_DIR}/classes.json",
        train=f"{DATA_DIR}/train.h5",
        dev=f"{DATA_DIR}/dev.h5",
        test=f"{DATA_DIR}/test.h5",
        ids=f"{DATA_DIR}/ids.txt",
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
        mem_mb=6000,
        runtime=720,
        # where the audio lies is no part of the result, and unlike in params a change here re-runs nothing
        data_root=SETTINGS.data_root,
    params:
        out=subpath(output.manifest, parent=True),
        settings=lambda wildcards: json.dumps(DATASETS[wildcards.dataset].recipe()),
        ids=lambda wildcards: listed_ids(wildcards.dataset),
        code=lambda wildcards: prepare_code(wildcards.dataset),
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m elasticast prepare --dataset {wildcards.dataset} --root {resources.data_root:q} --out {params.out:q}"
        " --workers {threads} 2>&1 | tee -i {log:q}"


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
    threads: 2
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        data=subpath(input.store, parent=True),
        clips=stats_clips,
        released=released_statistics,
        settings=lambda wildcards: FRONT_ENDS[wildcards.front_end].model_dump_json(),
        code=CODE["stats"],
    message:
        "Normalisation statistics of {wildcards.dataset}"
    shell:
        "python -m elasticast stats --front-end {params.settings:q} --data {params.data:q} --out {output:q}"
        " {params.clips} {params.released} --workers {threads} 2>&1 | tee -i {log:q}"
