# Tables of the report about settings, data and runs.


localrules:
    resolved_suite,
    collect_runs,
    collect_history,
    collect_data,
    collect_lengths,
    collect_norms,


rule resolved_suite:
    """All settings of the suite in one file."""
    output:
        report(
            f"{SUMMARY_DIR}/suite.yaml",
            caption="../report/suite.rst",
            category="Provenance",
            labels={"table": "Settings of the suite"},
        ),
    log:
        f"{SUITE_DIR}/logs/resolved_suite.log",
    conda:
        "../../environment.yml"
    params:
        suite=SUITE.name,
        settings=digest(SUITE),
    shell:
        "python -m elasticast resolve --suite {params.suite:q} --out {output:q} 2> {log:q}"


rule collect_runs:
    """Table of all runs: versions, times."""
    input:
        existing(every_run(rules.train.output.record)),
    output:
        table=report(
            f"{SUMMARY_DIR}/runs.csv",
            caption="../report/runs.rst",
            category="Provenance",
            labels={"table": "Runs, versions, times"},
        ),
        record=f"{SUMMARY_DIR}/runs.json",
    log:
        f"{SUITE_DIR}/logs/collect_runs.log",
    conda:
        "../../environment.yml"
    params:
        table="runs",
        code=CODE["collect"],
    shell:
        "python -m elasticast collect {params.table:q} {input:q} --out {output.table:q} 2> {log:q}"


use rule collect_runs as collect_history with:
    output:
        table=report(
            f"{SUMMARY_DIR}/history.csv",
            caption="../report/history.rst",
            category="Provenance",
            labels={"table": "Learning curves"},
        ),
        record=f"{SUMMARY_DIR}/history.json",
    log:
        f"{SUITE_DIR}/logs/collect_history.log",
    params:
        table="history",
        code=CODE["collect"],


describe("collect_history", "Table of the learning curves of all runs.")


rule collect_data:
    """Table of the clips used and rejected."""
    input:
        tables=expand(rules.prepare.output.table, dataset=list(SUITE.datasets)),
        summaries=expand(rules.prepare.output.summary, dataset=list(SUITE.datasets)),
    output:
        table=report(
            f"{SUITE_DIR}/summary/data.csv",
            caption="../report/data.rst",
            category="Provenance",
            labels={"table": "Clips used and rejected"},
        ),
        record=f"{SUITE_DIR}/summary/data.json",
    log:
        f"{SUITE_DIR}/logs/collect_data.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["collect"],
    shell:
        "python -m elasticast collect data {input.tables:q} --out {output.table:q} 2> {log:q}"


rule collect_lengths:
    """Table of the durations of the clips, for figure 2."""
    input:
        manifests=expand(rules.prepare.output.manifest, dataset=list(SUITE.datasets)),
        summaries=expand(rules.prepare.output.summary, dataset=list(SUITE.datasets)),
    output:
        table=f"{SUITE_DIR}/summary/lengths.csv",
        record=f"{SUITE_DIR}/summary/lengths.json",
    log:
        f"{SUITE_DIR}/logs/collect_lengths.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["collect"],
    shell:
        "python -m elasticast collect lengths {input.manifests:q} --out {output.table:q} 2> {log:q}"


rule collect_norms:
    """Table of the normalisation statistics."""
    input:
        norm_sources(),
    output:
        table=report(
            f"{SUITE_DIR}/summary/norms.csv",
            caption="../report/norms.rst",
            category="Provenance",
            labels={"table": "Normalisation statistics"},
        ),
        record=f"{SUITE_DIR}/summary/norms.json",
    log:
        f"{SUITE_DIR}/logs/collect_norms.log",
    conda:
        "../../environment.yml"
    params:
        code=CODE["collect"],
    shell:
        "python -m elasticast collect norms {input:q} --out {output.table:q} 2> {log:q}"


rule summary:
    """All tables in results/SUITE/summary."""
    input:
        rules.collect_metrics.output,
        [] if SETTINGS.partial else rules.intervals.output,
        rules.collect_runs.output,
        rules.collect_history.output,
        [] if SETTINGS.partial else rules.collect_data.output,
        [] if SETTINGS.partial else rules.collect_lengths.output,
        [] if SETTINGS.partial else rules.collect_norms.output,
        rules.resolved_suite.output,
