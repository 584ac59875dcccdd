"""Verdict: our curves compared with the authors', and the paper's claims tested on both."""

from pathlib import Path

from elasticast.reporting.claims import judge_claims
from elasticast.reporting.comparison import SWEEPS
from elasticast.reporting.panel_inputs import add_sweep, read_panels
from elasticast.reporting.read_tables import read_notes, read_pairs
from elasticast.reporting.released_curves import keep_released_weights
from elasticast.reporting.scripts import run_script
from elasticast.reporting.verdict import claim_table, curve_table, write_verdict


def write(suite, arguments):
    suite = keep_released_weights(suite) if arguments.released_weights else suite
    x_names = [x_name for x_name in SWEEPS if any(suite.curve(name, x_name) for name in suite.experiments)]
    panels = [panel for x_name in x_names for panel in read_panels(suite, arguments, x_name)]
    tests = judge_claims(suite, panels, released=False)
    curves = curve_table(suite, panels, tests, arguments.tolerance)
    pairs = arguments.pairs and read_pairs(arguments.pairs, arguments.metrics)
    rules = claim_table(suite, panels, pairs)
    write_verdict(curves, rules, suite, arguments.out, read_notes(arguments.metrics))


def add_arguments(parser):
    add_sweep(parser)
    parser.add_argument("--pairs", type=Path, help="summary/pairs.csv of the suite: paired tests")
    tolerance = "largest difference in points at which a curve agrees with the authors'; adds the column `agrees`"
    parser.add_argument("--tolerance", type=float, help=tolerance)
    weights = "the metrics are those of the authors' weights instead of our runs"
    parser.add_argument("--released-weights", action="store_true", help=weights)


def main(argv=None):
    run_script(__doc__, write, add_arguments, argv)


if __name__ == "__main__":
    main()
