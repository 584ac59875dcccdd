# The paper's figures and tables: `snakemake fig4` draws one. The inputs of a figure are its script, its data and the
# settings of the suite. A digest of the code behind the script is in params, so that an edit redraws only figures.

# figures of two suites have a separate folder, so that they do not replace those of one
CURVE_DIR = f"{FIGURE_DIR}/beside_{SETTINGS.beside}" if SETTINGS.beside else FIGURE_DIR
# a suite without ElasticAST at native length leaves figure 3 out of `all`, but `snakemake fig3` can draw it
PACKED_DATASET = PLAN.packed_dataset or next(iter(SUITE.datasets))


localrules:
    fig1,
    fig2,
    fig3,
    fig4,
    fig5,
    learning_curves,
    patch_sizes,
    zoo,
    table1,
    verdict,
    overview,


rule fig1:
    """Figure 1: one model for every length."""
    input:
        script="paper_figures/fig1_teaser.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "fig1_teaser",
            "../report/fig1_teaser.rst",
            "Fig. 1: one model for every length",
        ),
        caption=f"{FIGURE_DIR}/fig1_teaser.rst",
    log:
        f"{SUITE_DIR}/logs/fig1.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        options=comparison_options,
        code=CODE["curves"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


rule fig2:
    """Figure 2: native lengths of the clips, what is cropped and padded."""
    input:
        script="paper_figures/fig2_native_lengths.py",
        lengths=rules.collect_lengths.output.table,
        record=rules.collect_lengths.output.record,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "fig2_native_lengths",
            "../report/fig2_native_lengths.rst",
            "Fig. 2: native lengths, cropping, padding",
        ),
        caption=f"{FIGURE_DIR}/fig2_native_lengths.rst",
    log:
        f"{SUITE_DIR}/logs/fig2.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        code=CODE["lengths"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --lengths {input.lengths:q} --out {params.out:q} 2> {log:q}"


rule fig3:
    """Figure 3: a packed batch."""
    input:
        script="paper_figures/fig3_packing.py",
        store=f"{DATA_DIR}/train.h5".format(dataset=PACKED_DATASET),
        manifest=f"{DATA_DIR}/manifest.parquet".format(dataset=PACKED_DATASET),
        classes=f"{DATA_DIR}/classes.json".format(dataset=PACKED_DATASET),
        summary=f"{DATA_DIR}/summary.json".format(dataset=PACKED_DATASET),
        suite=rules.resolved_suite.output[0],
    output:
        figure("fig3_packing", "../report/fig3_packing.rst", "Fig. 3: a packed batch"),
        caption=f"{FIGURE_DIR}/fig3_packing.rst",
    log:
        f"{SUITE_DIR}/logs/fig3.log",
    conda:
        "../../environment.yml"
    params:
        data=subpath(input.store, parent=True),
        out=subpath(output[0], strip_suffix=".png"),
        code=CODE["packing"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --data {params.data:q} --out {params.out:q} 2> {log:q}"


rule fig4:
    """Figure 4: scores over input length."""
    input:
        script="paper_figures/fig4_length_curves.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        released=released_curves,
        beside=other_suite,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "fig4_length_curves",
            "../report/fig4_length_curves.rst",
            "Fig. 4: native-length curves",
            CURVE_DIR,
        ),
        caption=f"{CURVE_DIR}/fig4_length_curves.rst",
    log:
        f"{SUITE_DIR}/logs/fig4.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        options=comparison_options,
        code=CODE["curves"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


use rule fig4 as fig5 with:
    input:
        script="paper_figures/fig5_resolution_curves.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        released=released_curves,
        beside=other_suite,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "fig5_resolution_curves",
            "../report/fig5_resolution_curves.rst",
            "Fig. 5: resolution curves",
            CURVE_DIR,
        ),
        caption=f"{CURVE_DIR}/fig5_resolution_curves.rst",
    log:
        f"{SUITE_DIR}/logs/fig5.log",


describe("fig5", "Figure 5: scores over time resolution.")


rule learning_curves:
    """Learning curves of all runs: training loss, and scores on held-out clips."""
    input:
        script="paper_figures/learning_curves.py",
        history=rules.collect_history.output.table,
        record=rules.collect_history.output.record,
        suite=rules.resolved_suite.output[0],
    output:
        figure("learning_curves", "../report/learning_curves.rst", "Learning curves"),
        caption=f"{FIGURE_DIR}/learning_curves.rst",
    log:
        f"{SUITE_DIR}/logs/learning_curves.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        code=CODE["learning"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --history {input.history:q} --out {params.out:q} 2> {log:q}"


rule patch_sizes:
    """Figure of patch sizes: scores over the size of the patches and over tokens per second."""
    input:
        script="paper_figures/patch_sizes.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        released=released_curves,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "patch_sizes",
            "../report/patch_sizes.rst",
            "Patch sizes and tokens per second",
        ),
        caption=f"{FIGURE_DIR}/patch_sizes.rst",
    log:
        f"{SUITE_DIR}/logs/patch_sizes.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        options=comparison_options,
        code=CODE["patches"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


rule zoo:
    """Models and methods: scores over the operations of inference and of training, and a table."""
    input:
        script="paper_figures/zoo.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        runs=rules.collect_runs.output.table,
        history=rules.collect_history.output.table,
        run_records=[
            rules.collect_runs.output.record,
            rules.collect_history.output.record,
        ],
        beside=other_suite_and_runs,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        pairs=[] if SETTINGS.partial else rules.intervals.output.pairs,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        figure(
            "zoo",
            "../report/zoo.rst",
            "Models and methods: score and cost",
            CURVE_DIR,
        ),
        report(
            f"{CURVE_DIR}/zoo.csv",
            caption="../report/zoo_table.rst",
            category="Tables",
            labels={"table": "Models and methods"},
        ),
        f"{CURVE_DIR}/zoo.md",
        f"{CURVE_DIR}/zoo.tex",
        caption=f"{CURVE_DIR}/zoo.rst",
    log:
        f"{SUITE_DIR}/logs/zoo.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".png"),
        options=comparison_options,
        code=CODE["zoo"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


rule table1:
    """Table 1: fixed-length models compared with flexible ones."""
    input:
        script="paper_figures/table1.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        suite=rules.resolved_suite.output[0],
    output:
        report(
            f"{FIGURE_DIR}/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "Table 1"},
        ),
        f"{FIGURE_DIR}/table1.md",
        f"{FIGURE_DIR}/table1.tex",
    log:
        f"{SUITE_DIR}/logs/table1.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".csv"),
        code=CODE["table"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q} 2> {log:q}"


rule verdict:
    """Verdict: which claims of the paper hold."""
    input:
        script="paper_figures/verdict.py",
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        released=released_curves,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        pairs=[] if SETTINGS.partial else rules.intervals.output.pairs,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        report(
            f"{FIGURE_DIR}/verdict.csv",
            caption="../report/verdict.rst",
            category="Tables",
            labels={"table": "Verdict: curves"},
        ),
        report(
            f"{FIGURE_DIR}/verdict_claims.csv",
            caption="../report/verdict_claims.rst",
            category="Tables",
            labels={"table": "Verdict: claims"},
        ),
        f"{FIGURE_DIR}/verdict.md",
        f"{FIGURE_DIR}/verdict.tex",
    log:
        f"{SUITE_DIR}/logs/verdict.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".csv"),
        options=comparison_options,
        code=CODE["verdict"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


rule overview:
    """The page of the suite: claims, headline, curves, cost, runs; also the first page of the report."""
    input:
        script="paper_figures/overview.py",
        template="workflow/report/overview.html.j2",
        included=["workflow/report/overview.css", "workflow/report/overview.js"],
        metrics=rules.collect_metrics.output.metrics,
        metrics_record=rules.collect_metrics.output.record,
        runs=rules.collect_runs.output.table,
        history=rules.collect_history.output.table,
        run_records=[
            rules.collect_runs.output.record,
            rules.collect_history.output.record,
        ],
        released=released_curves,
        beside=other_suite,
        intervals=[] if SETTINGS.partial else rules.intervals.output.intervals,
        pairs=[] if SETTINGS.partial else rules.intervals.output.pairs,
        records=[] if SETTINGS.partial else rules.intervals.output.records,
        suite=rules.resolved_suite.output[0],
    output:
        report(
            f"{PAGE_DIR}/index.html",
            caption="../report/overview.rst",
            category="Overview",
            labels={"page": "Headline, figures 4 and 5, verdict, cost, runs"},
        ),
    log:
        f"{SUITE_DIR}/logs/overview.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], strip_suffix=".html"),
        options=comparison_options,
        code=CODE["overview"],
    shell:
        "python {input.script:q} --suite {input.suite:q} --metrics {input.metrics:q} --out {params.out:q}"
        " {params.options:q} 2> {log:q}"


rule figures:
    """All figures and tables of the suite."""
    input:
        rules.overview.output,
        [getattr(rules, name).output for name in drawn_figures()],
