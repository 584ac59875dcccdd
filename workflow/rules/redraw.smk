# `snakemake redraw`: the figures and tables of the suite's published results, docs/results/SUITE, without data or training.
# `elasticast publish` writes these results. Figure 3 shows audio, which is not published.

DRAWN_DIR = f"{PUBLISHED}/figures"


localrules:
    redraw_fig1,
    redraw_fig2,
    redraw_fig4,
    redraw_fig5,
    redraw_learning_curves,
    redraw_patch_sizes,
    redraw_zoo,
    redraw_table1,
    redraw_verdict,
    redraw_record,
    redraw_ablation,
    redraw,


use rule fig1 as redraw_fig1 with:
    input:
        **published("fig1_teaser", "metrics", "intervals"),
    output:
        f"{DRAWN_DIR}/fig1_teaser.png",
        f"{DRAWN_DIR}/fig1_teaser.pdf",
        caption=f"{DRAWN_DIR}/fig1_teaser.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_fig1.log",


describe("redraw_fig1", "Figure 1, from published results.")


use rule fig2 as redraw_fig2 with:
    input:
        **published("fig2_native_lengths", "lengths"),
    output:
        f"{DRAWN_DIR}/fig2_native_lengths.png",
        f"{DRAWN_DIR}/fig2_native_lengths.pdf",
        caption=f"{DRAWN_DIR}/fig2_native_lengths.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_fig2.log",


describe("redraw_fig2", "Figure 2, from published results.")


use rule fig4 as redraw_fig4 with:
    input:
        **published_curves("fig4_length_curves"),
    output:
        f"{DRAWN_DIR}/fig4_length_curves.png",
        f"{DRAWN_DIR}/fig4_length_curves.pdf",
        caption=f"{DRAWN_DIR}/fig4_length_curves.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_fig4.log",


describe("redraw_fig4", "Figure 4, from published results.")


use rule fig5 as redraw_fig5 with:
    input:
        **published_curves("fig5_resolution_curves"),
    output:
        f"{DRAWN_DIR}/fig5_resolution_curves.png",
        f"{DRAWN_DIR}/fig5_resolution_curves.pdf",
        caption=f"{DRAWN_DIR}/fig5_resolution_curves.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_fig5.log",


describe("redraw_fig5", "Figure 5, from published results.")


use rule learning_curves as redraw_learning_curves with:
    input:
        **published("learning_curves", "history"),
    output:
        f"{DRAWN_DIR}/learning_curves.png",
        f"{DRAWN_DIR}/learning_curves.pdf",
        caption=f"{DRAWN_DIR}/learning_curves.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_learning_curves.log",


describe("redraw_learning_curves", "Learning curves, from published results.")


use rule patch_sizes as redraw_patch_sizes with:
    input:
        **published_curves("patch_sizes"),
    output:
        f"{DRAWN_DIR}/patch_sizes.png",
        f"{DRAWN_DIR}/patch_sizes.pdf",
        caption=f"{DRAWN_DIR}/patch_sizes.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_patch_sizes.log",


describe("redraw_patch_sizes", "Figure of patch sizes, from published results.")


use rule zoo as redraw_zoo with:
    input:
        **published("zoo", "metrics", "intervals", "pairs", "runs", "history"),
    output:
        f"{DRAWN_DIR}/zoo.png",
        f"{DRAWN_DIR}/zoo.pdf",
        f"{DRAWN_DIR}/zoo.csv",
        f"{DRAWN_DIR}/zoo.md",
        f"{DRAWN_DIR}/zoo.tex",
        caption=f"{DRAWN_DIR}/zoo.rst",
    log:
        f"{SUITE_DIR}/logs/redraw_zoo.log",


describe(
    "redraw_zoo", "Figure and table of models and methods, from published results."
)


use rule table1 as redraw_table1 with:
    input:
        **published("table1", "metrics"),
    output:
        f"{DRAWN_DIR}/table1.csv",
        f"{DRAWN_DIR}/table1.md",
        f"{DRAWN_DIR}/table1.tex",
    log:
        f"{SUITE_DIR}/logs/redraw_table1.log",


describe("redraw_table1", "Table 1, from published results.")


use rule verdict as redraw_verdict with:
    input:
        **published_curves("verdict", "pairs"),
    output:
        f"{DRAWN_DIR}/verdict.csv",
        f"{DRAWN_DIR}/verdict_claims.csv",
        f"{DRAWN_DIR}/verdict.md",
        f"{DRAWN_DIR}/verdict.tex",
    log:
        f"{SUITE_DIR}/logs/redraw_verdict.log",


describe("redraw_verdict", "Verdict, from published results.")


rule redraw_record:
    """Data and checksums of the figures drawn from published results."""
    input:
        redrawn,
    output:
        f"{DRAWN_DIR}/pictures.json",
    log:
        f"{SUITE_DIR}/logs/redraw.log",
    conda:
        "../../environment.yml"
    params:
        inputs=drawn_from,
    shell:
        "python -m elasticast pictures --inputs {params.inputs:q} --out {output:q} 2> {log:q}"


rule redraw_ablation:
    """Figure of a published ablation."""
    input:
        published_ablation_data,
    output:
        f"{PUBLISHED}/ablations/{{ablation}}/figure.png",
        f"{PUBLISHED}/ablations/{{ablation}}/figure.pdf",
        f"{PUBLISHED}/ablations/{{ablation}}/figure.rst",
    log:
        f"{SUITE_DIR}/logs/ablations/{{ablation}}/redraw.log",
    conda:
        "../../environment.yml"
    params:
        folder=subpath(output[0], parent=True),
        code=CODE["redraw_ablation"],
    shell:
        "python -m elasticast redraw-ablation {params.folder:q} 2> {log:q}"


# a rule without output: Snakemake looks for missing files only among the inputs of such a rule
rule redraw:
    """All figures and tables of the suite's published results, without data or training."""
    input:
        redrawn,
        rules.redraw_record.output,
        published_ablation_figures(rules.redraw_ablation.output),
