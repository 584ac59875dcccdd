# One training run an experiment and seed.


localrules:
    configure,


rule configure:
    output:
        f"{RUN_DIR}/config.yaml",
    log:
        f"{SUITE_DIR}/logs/configure_{{experiment}}_seed{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        settings=run_settings,
    shell:
        "python -m elasticast configure --settings {params.settings:q} --out {output:q} 2> {log:q}"


rule train:
    # the checkpoint and the history lie beside these and are not declared: they have to outlive an interrupted job
    input:
        config=rules.configure.output[0],
        store=prepared("train.h5"),
        held_out=selection_split,
        manifest=prepared("manifest.parquet"),
        norm=lambda wildcards: norm_of(RUNS[wildcards.experiment]),
        start=starting_weights,
    output:
        weights=f"{RUN_DIR}/model.safetensors",
        model=f"{RUN_DIR}/model.json",
        record=f"{RUN_DIR}/run.json",
    log:
        f"{SUITE_DIR}/logs/train_{{experiment}}_seed{{seed}}.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/train_{{experiment}}_seed{{seed}}.tsv"
    conda:
        "../../environment.yml"
    threads: SETTINGS.train_threads
    resources:
        mem_mb=3000,
        runtime=1440,
        gpus=SETTINGS.train_gpus,
        nodes=1,
        # asked to stop, it saves itself; started again, it goes on
        checkpointable=1,
        # where published weights lie is no part of the result; which ones they are, the run records
        weights_root=SETTINGS.weights_root,
    params:
        data=subpath(input.store, parent=True),
        norm=norm_option,
        out=subpath(output.weights, parent=True),
        code=train_code,
    message:
        "Training {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        # tee stays until the last line: without it the trainer could not say that it has saved itself
        "python -m elasticast.jobs.launch --gpus {resources.gpus} --nodes {resources.nodes}"
        " train --config {input.config:q} --data {params.data:q} {params.norm} --out {params.out:q}"
        " --weights-root {resources.weights_root:q} --threads {threads} 2>&1 | (trap '' INT TERM; tee {log:q})"
