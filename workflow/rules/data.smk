# Make the manifest, waveform stores and normalisation statistics from audio and annotations.

import json


localrules:
    decoded,


rule prepare_shard:
    """Decode one share of the clips of a dataset."""

    # Decodes a share of the clips, for datasets with `shards` above 1. The decoded parts are no declared outputs, because
    # Snakemake deletes the outputs of a failed job.
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
        settings=lambda wildcards: json.dumps(PLAN.datasets[wildcards.dataset].recipe()),
        ids=lambda wildcards: lists_digest(wildcards.dataset),
        code=lambda wildcards: PLAN.prepare_code(wildcards.dataset),
    message:
        "Decoding share {wildcards.shard} of {wildcards.shards} of {wildcards.dataset}"
    shell:
        "python -m elasticast prepare --dataset {wildcards.dataset:q} --root {resources.data_root:q} --out {params.out:q}"
        " --workers {threads} --shard {wildcards.shard:q}/{wildcards.shards:q} 2>&1 | tee -i {log:q}"


rule decoded:
    """Mark that all shares of a dataset are decoded."""

    # Marks that all shares are decoded. `prepare` depends on this file only, and not on its age, so that it does not run
    # again when the number of shares changes. The name of the file changes with the settings and the code, because
    # Snakemake checks the params of a job only if none of its inputs is made again. There is one such file at a time.
    input:
        lambda wildcards: expand(
            f"{DATA_DIR}/shards/{{shard}}-of-{{shards}}.done",
            dataset=wildcards.dataset,
            shard=range(1, PLAN.datasets[wildcards.dataset].shards + 1),
            shards=PLAN.datasets[wildcards.dataset].shards,
        ),
    output:
        touch(f"{DATA_DIR}/shards/all-{{recipe}}.done"),
    log:
        f"{RESULTS}/data/logs/decoded_{{dataset}}_{{recipe}}.log",
    wildcard_constraints:
        recipe="[0-9a-f]+",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
    shell:
        "find {params.folder:q} -name 'all*.done' -delete 2> {log:q}"


rule prepare:
    """Manifest and waveform store of a dataset: download or generate, decode."""

    # rejected.csv and the decoded parts are written to the same folder, but are no declared outputs, because Snakemake
    # deletes the outputs of a failed job.
    input:
        shards=lambda wildcards: (
            []
            if PLAN.datasets[wildcards.dataset].shards == 1
            else ancient(
                rules.decoded.output[0].format(
                    dataset=wildcards.dataset, recipe=recipe_digest(wildcards.dataset)
                )
            )
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
        # a resource and not a param, so that another folder with the same audio does not prepare it again
        data_root=SETTINGS.data_root,
    params:
        out=subpath(output.manifest, parent=True),
        settings=lambda wildcards: json.dumps(PLAN.datasets[wildcards.dataset].recipe()),
        ids=lambda wildcards: lists_digest(wildcards.dataset),
        code=lambda wildcards: PLAN.prepare_code(wildcards.dataset),
    message:
        "Preparing {wildcards.dataset}"
    shell:
        "python -m elasticast prepare --dataset {wildcards.dataset:q} --root {resources.data_root:q} --out {params.out:q}"
        " --workers {threads} 2>&1 | tee -i {log:q}"


rule stats:
    """Normalisation statistics of a dataset."""
    input:
        store=f"{DATA_DIR}/train.h5",
        summary=rules.prepare.output.summary,
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
        # all clips if `stats_clips` is null
        clips=lambda wildcards: (
            ["--clips", clips]
            if (clips := PLAN.datasets[wildcards.dataset].stats_clips)
            else []
        ),
        # recorded in the file, so that the report can compare with released statistics; a twin has none
        released=lambda wildcards: (
            []
            if getattr(PLAN.datasets[wildcards.dataset], "twin", None)
            else ["--module", PLAN.datasets[wildcards.dataset].module]
        ),
        settings=lambda wildcards: PLAN.front_ends[
            wildcards.front_end
        ].model_dump_json(),
        code=CODE["stats"],
    message:
        "Normalisation statistics of {wildcards.dataset}"
    shell:
        "python -m elasticast stats --front-end {params.settings:q} --data {params.data:q} --out {output:q}"
        " {params.clips:q} {params.released:q} --workers {threads} 2>&1 | tee -i {log:q}"
