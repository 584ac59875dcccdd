"""Verdict: each curve beside the released one, and the paper's claims as rules tested on both."""

from pathlib import Path

from elasticast.reporting.claims import judge_claims
from elasticast.reporting.comparison import SWEEPS
from elasticast.reporting.released import as_released
from elasticast.reporting.scripts import add_sweep, read_panels, run_script
from elasticast.reporting.uncertainty import read_pairs
from elasticast.reporting.verdict import claim_table, curve_table, write_verdict


def write(suite, arguments):
    suite = as_released(suite) if arguments.released_weights else suite
    swept = [x_name for x_name in SWEEPS if any(suite.curve(name, x_name) for name in suite.experiments)]
    panels = [panel for x_name in swept for panel in read_panels(suite, arguments, x_name)]
    tests = judge_claims(suite, panels, released=False)
    curves = curve_table(suite, panels, tests, arguments.tolerance)
    pairs = arguments.pairs and read_pairs(arguments.pairs)
    write_verdict(curves, claim_table(suite, panels, pairs), suite, arguments.out)


def add_arguments(parser):
    add_sweep(parser)
    parser.add_argument("--pairs", type=Path, help="the suite's summary/pairs.csv: paired tests")
    told = "points within which each curve has to agree with the released one"
    parser.add_argument("--tolerance", type=float, help=told)
    told = "the metrics are of the authors' weights, each in the place of one experiment's runs"
    parser.add_argument("--released-weights", action="store_true", help=told)


def main(argv=None):
    run_script(__doc__, write, add_arguments, argv)


if __name__ == "__main__":
    main()
