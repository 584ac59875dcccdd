"""Ablation: a table of all metrics, a table that compares the variants, and the figure that `plot` selects."""

from pathlib import Path

from elasticast.config.load_ablation import load_resolved_ablation
from elasticast.reporting.ablation.captions import figure_caption
from elasticast.reporting.ablation.figures import draw
from elasticast.reporting.ablation.read_results import read_results
from elasticast.reporting.ablation.run_table import run_table
from elasticast.reporting.ablation.variant_table import compare_variants, write_table
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save
from elasticast.reporting.tables import tidy_csv, write_tables


def report(ablation, arguments):
    results = read_results(ablation, arguments.runs, partial=arguments.partial)
    table = compare_variants(results)
    write_tables(arguments.out, csv=tidy_csv(run_table(results)))
    write_table(results, table, arguments.out.with_name(f"{arguments.out.name}_table"))
    save(draw(results, table), arguments.out, figure_caption(results, table))


def add_runs(parser):
    parser.add_argument(
        "--runs", required=True, type=Path, help="folder with the results of the ablation: results/SUITE/ablations/NAME"
    )
    parser.add_argument("--partial", action="store_true", help="leave out results of earlier runs or settings")


def main(argv=None):
    run_script(__doc__, report, add_runs, argv, kind="ablation", load=load_resolved_ablation)


if __name__ == "__main__":
    main()
