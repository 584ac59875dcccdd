# The ElasticAST suite: audio and annotations -> training runs -> sweeps -> figures, table, report.
# `snakemake all` runs the suite named in config/config.yaml; `snakemake fig4` regenerates one figure.

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/redraw.smk"
include: "workflow/rules/released.smk"
include: "workflow/rules/ablations.smk"
include: "workflow/rules/audits.smk"
include: "workflow/rules/archive.smk"
include: "workflow/rules/bench.smk"


rule all:
    """Everything: run the suite, then draw all figures and tables."""
    default_target: True
    input:
        rules.figures.input,
        rules.summary.input,


onstart:
    drop_default_rate_limit(workflow.scheduler)


# custom rules (docs/extending.md) come last, so that they can use all other rules
for file in CUSTOM_RULES:

    include: file


check_targets()
show_short_messages()
