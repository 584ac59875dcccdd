# One training run per experiment and seed.


localrules:
    configure,


rule configure:
    """Settings of a run."""
    output:
        f"{RUN_DIR}/config.yaml",
    log:
        f"{SUITE_DIR}/logs/configure_{{experiment}}_seed{{seed}}.log",
    conda:
        "../../environment.yml"
    params:
        # without labels, colours, and settings that cannot change the weights
        settings=lambda wildcards: PLAN.deciding_settings(
            *experiment_of(wildcards), int(wildcards.seed)
        ),
    shell:
        "python -m elasticast configure --settings {params.settings:q} --out {output:q} 2> {log:q}"


rule train:
    """Train one experiment with one seed."""

    # Checkpoint and history are written to the same folder, but are no declared outputs, because Snakemake deletes
    # the outputs of an interrupted job.
    input:
        config=rules.configure.output[0],
        stores=lambda wildcards: stores(wildcards, needs(wildcards).splits),
        manifest=prepared("manifest.parquet"),
        classes=prepared("classes.json"),
        summary=prepared("summary.json"),
        norm=lambda wildcards: norm_file(wildcards.experiment),
        others=lambda wildcards: expand(
            f"{RUN_DIR}/model.safetensors",
            experiment=needs(wildcards).trained_first,
            seed=wildcards.seed,
        ),
        model_file=lambda wildcards: PLAN.training_files(*experiment_of(wildcards)),
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
        # training saves a checkpoint when it is asked to stop, and continues from it at the next start
        checkpointable=1,
        # resources and not params, so that a change does not train again. The run records which published weights it
        # used; the settings cannot change its weights
        weights_root=SETTINGS.weights_root,
        also=lambda wildcards: PLAN.settings_without_effect(wildcards.experiment),
    params:
        data=subpath(input.manifest, parent=True),
        norm=lambda wildcards, input: ["--norm", input.norm] if input.norm else [],
        model_file=model_file_option,
        out=subpath(output.weights, parent=True),
        code=lambda wildcards: PLAN.training_code(wildcards.experiment),
    message:
        "Training {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        # tee ignores the signals that stop the trainer, so that it logs the last line: a checkpoint was saved
        "python -m elasticast.jobs.launch --gpus {resources.gpus} --nodes {resources.nodes}"
        " train --config {input.config:q} --data {params.data:q} {params.norm:q} --out {params.out:q}"
        " --weights-root {resources.weights_root:q} --also {resources.also:q} {params.model_file:q} --threads {threads} 2>&1 | (trap '' INT TERM; tee {log:q})"
