"""An ablation: the tidy table of all its numbers, the table of its variants, and the figure its file asks for."""

from pathlib import Path

from elasticast.config.load_ablation import load_resolved_ablation
from elasticast.reporting.ablation.figures import draw
from elasticast.reporting.ablation.results import read_results, tidy
from elasticast.reporting.ablation.table import compare_variants, write_table
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save
from elasticast.reporting.tables import tidy_csv, write_tables


def report(ablation, arguments):
    results = read_results(ablation, arguments.runs)
    table = compare_variants(results)
    write_tables(arguments.out, csv=tidy_csv(tidy(results)))
    write_table(results, table, arguments.out.with_name(f"{arguments.out.name}_table"))
    save(draw(results, table), arguments.out)


def add_runs(parser):
    parser.add_argument("--runs", required=True, type=Path, help="its results: results/SUITE/ablations/NAME")


def main(argv=None):
    run_script(__doc__, report, add_runs, argv, of="ablation", load=load_resolved_ablation)


if __name__ == "__main__":
    main()
