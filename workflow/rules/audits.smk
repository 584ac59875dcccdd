# `snakemake audits`: how trained runs, or the encoders in the setting `audits`, behave at other lengths, in batches and at
# lower sample rates. By default it uses the runs of the suite, and nothing from the network.


rule audits:
    """How the models behave at other lengths, in batches, at lower sample rates."""

    # The result of each encoder is also written to the folder `encoders`, so that an audit that stops continues.
    input:
        weights=audited_runs("model.safetensors"),
        models=audited_runs("model.json"),
        records=audited_runs("run.json"),
    output:
        page=report(
            f"{SUITE_DIR}/audits/audit.html",
            caption="../report/audits.rst",
            category="Audits",
            labels={"audit": "page"},
        ),
        table=f"{SUITE_DIR}/audits/audit.csv",
        record=f"{SUITE_DIR}/audits/audit.json",
    log:
        f"{SUITE_DIR}/logs/audits.log",
    benchmark:
        f"{SUITE_DIR}/benchmarks/audits.tsv"
    conda:
        "../../environment.yml"
    threads: SETTINGS.train_threads
    resources:
        mem_mb=6000,
        runtime=240,
        gpus=min(SETTINGS.train_gpus, 1),
    params:
        encoders=lambda _: audited_encoders(),
        out=subpath(output.page, parent=True),
        code=CODE["audit"],
    message:
        "Auditing {params.encoders}"
    shell:
        "python -m elasticast audit {params.encoders:q} --out {params.out:q} --threads {threads} 2>&1 | tee -i {log:q}"
