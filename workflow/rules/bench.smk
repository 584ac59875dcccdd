# `snakemake bench`: `elasticast bench` on this machine, with tables and a figure in the report. No other job runs at the
# same time. What is measured depends on the machine, so an edit of the code measures nothing again; `--forcerun` does.


rule bench_table:
    """One benchmark of this machine."""
    input:
        store=f"{DATA_DIR}/train.h5".format(dataset=PACKED_DATASET),
        test=f"{DATA_DIR}/test.h5".format(dataset=PACKED_DATASET),
        manifest=f"{DATA_DIR}/manifest.parquet".format(dataset=PACKED_DATASET),
        classes=f"{DATA_DIR}/classes.json".format(dataset=PACKED_DATASET),
        summary=f"{DATA_DIR}/summary.json".format(dataset=PACKED_DATASET),
    output:
        report(
            f"{SUITE_DIR}/bench/{{bench}}.csv",
            caption="../report/bench_table.rst",
            category="Benchmarks",
            labels={"table": "{bench}"},
        ),
    log:
        f"{SUITE_DIR}/logs/bench_{{bench}}.log",
    wildcard_constraints:
        bench="|".join(BENCHES),
    conda:
        "../../environment.yml"
    threads: workflow.cores or 1  # a cluster has no number of cores
    resources:
        mem_mb=6000,
        runtime=60,
        gpus=min(SETTINGS.train_gpus, 1),
    params:
        data=bench_data,
        options=lambda wildcards: BENCHES[wildcards.bench],
    message:
        "Measuring: elasticast bench {wildcards.bench}"
    shell:
        "python -m elasticast bench {wildcards.bench:q} {params.data:q} {params.options:q} --out {output:q} 2>&1 | tee {log:q}"


rule bench:
    """Benchmarks of this machine: packing, other implementations, log-mel, loader, sweeps, scaling."""
    input:
        expand(rules.bench_table.output[0], bench=list(BENCHES)),
    output:
        figure("bench", "../report/bench.rst", "Benchmarks of this machine", BENCH_DIR),
        caption=f"{BENCH_DIR}/bench.rst",
    log:
        f"{SUITE_DIR}/logs/bench.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        code=CODE["bench"],
    shell:
        "python -m elasticast bench figure {input:q} --out {params.out:q} 2> {log:q}"
