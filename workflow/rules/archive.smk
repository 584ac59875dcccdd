# The archive of a suite: one zip file for others to cite and check.


localrules:
    archive,


rule archive:
    """One zip file with code, results, figures, metadata (RO-Crate, Croissant) and checksums; it unpacks to a checkout."""
    input:
        rules.figures.input,
        rules.summary.input,
        runs=every_run(rules.train.output),
        evaluations=every_run(rules.evaluate.output),
        data=expand(rules.prepare.output.summary, dataset=list(SUITE.datasets)),
        suite=rules.resolved_suite.output[0],
        table=rules.table1.output[0],
    output:
        f"{SUITE_DIR}/elasticast-{SUITE.name}-{VERSION}.zip",
    log:
        f"{SUITE_DIR}/logs/archive.log",
    conda:
        "../../environment.yml"
    params:
        results=subpath(input.suite, ancestor=3),
        figures=subpath(input.table, parent=True),
        weights=["--weights"] if SETTINGS.archive_weights else [],
        commit=git_commit(Path()),
    shell:
        "python -m elasticast archive {input.suite:q} --results {params.results:q} --figures {params.figures:q} --out {output:q}"
        " {params.weights:q} 2>&1 | tee {log:q}"
