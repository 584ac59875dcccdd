"""Sweeps over which the variants of an ablation are compared, and checks that they can be compared."""

from elasticast.config.ablation import Ablation
from elasticast.config.evaluation import Evaluation
from elasticast.config.suite import Suite
from elasticast.errors import Problem

Point = tuple[float, float | None]
"""Point of a sweep: x, and the compression in a grid of length and resolution; None in other sweeps."""
GRID = "length and resolution"
SWEEPS = {"max_frames": "length", "compression": "resolution", "token_drop": "tokens left out"}
_NEEDED = {"heat_map": (GRID,), "cost": (SWEEPS["token_drop"],), "curves": tuple(SWEEPS.values())}
_DECIMALS = 6  # so that 1.2 from a file and 1.2 from arithmetic are the same point


def evaluations_of(suite: Suite, variant: str, sweep: str) -> dict[str, Evaluation]:
    """The evaluations of a variant that belong to a sweep, on split test.

    Evaluations in windows are only used if the sweep has no other evaluations.
    """
    if sweep == GRID:
        named = suite.sweep(variant).items()
        return {n: e for n, e in named if e.compression is not None and e.split == "test"}
    x_name = next(key for key, name in SWEEPS.items() if name == sweep)
    return suite.curve(variant, x_name)


def point(x: float, compression: float | None) -> Point:
    """The point at `x` and `compression`, rounded so that equal points compare equal."""
    return round(x, _DECIMALS), compression and round(compression, _DECIMALS)


def points_of(suite: Suite, variant: str, sweep: str) -> list[Point]:
    """The points of a sweep of a variant, in order."""
    evaluations = evaluations_of(suite, variant, sweep).values()
    return sorted({point(x, c) for e in evaluations for c in e.compression or [None] for x in e.x})


def sweeps_of(suite: Suite, variant: str) -> list[str]:
    """The sweeps that a variant has."""
    return [sweep for sweep in (*SWEEPS.values(), GRID) if points_of(suite, variant, sweep)]


def compared(ablation: Ablation) -> dict[str, list[str]]:
    """The sweeps of the base, each with the variants that have the same sweep."""
    variants = list(ablation.experiments)
    return {
        sweep: [v for v in variants if points_of(ablation, v, sweep)] for sweep in sweeps_of(ablation, ablation.base)
    }


def shared_points(ablation: Ablation, sweep: str) -> list[Point]:
    """The points of a sweep that all variants with this sweep have; mean and worst score are computed over them."""
    points = [points_of(ablation, variant, sweep) for variant in compared(ablation)[sweep]]
    return sorted(set(points[0]).intersection(*points))


def native_point(points: list[Point], sweep: str) -> Point:
    """The point at which the model is given most of a clip.

    That is the greatest length, the finest resolution, or the smallest share of tokens left out.
    """
    if sweep == SWEEPS["max_frames"]:
        return points[-1]
    return min(points, key=lambda p: (p[1], -p[0])) if sweep == GRID else points[0]


def comparison_problems(ablation: Ablation) -> list[tuple[str | None, Problem]]:
    """Reasons why the variants of an ablation cannot be compared, or cannot be drawn with the chosen `plot`.

    Returns
    -------
    list of (str or None, Problem)
        Each problem with its variant, or None if it concerns the whole ablation. The keys of a problem start at the
        variant, or at the top of the file.
    """
    base = ablation.runs[ablation.base]
    problems: list[tuple[str | None, Problem]] = []
    for variant, run in ablation.runs.items():
        for key in ("dataset", "task"):
            value, expected = getattr(run, key), getattr(base, key)
            if value != expected:
                message = f"the base {ablation.base!r} has {expected!r}, so they have no test clips in common"
                problems.append((variant, Problem.between(key, value, message)))
    sweeps = compared(ablation)
    if not sweeps:
        evaluations = ablation.experiments[ablation.base].evaluations
        message = "none of them is on split test, on which variants are compared"
        problems.append((None, Problem.between("evaluations", evaluations, message)))
    for sweep in sweeps:
        if not shared_points(ablation, sweep):
            message = f"no point of the sweep over {sweep} is shared by {', '.join(sweeps[sweep])}"
            problems.append((None, Problem("", ("evaluations",), message)))
    for variant in ablation.runs:
        problems += [(variant, problem) for problem in _hop_problems(ablation, variant)]
        if sweeps and not any(variant in variants for variants in sweeps.values()):
            message = f"no sweep of the base {ablation.base!r} ({', '.join(sweeps)}) on split test"
            problems.append(
                (variant, Problem.between("evaluations", ablation.experiments[variant].evaluations, message))
            )
    return problems or [(None, problem) for problem in _plot_problems(ablation, list(sweeps))]


def _hop_problems(ablation: Ablation, variant: str) -> list[Problem]:
    """Problems of a variant whose hop differs from that of the base, so that the same x means a different length."""
    hop_ms, base_hop_ms = (ablation.runs[v].front_end.hop_ms for v in (variant, ablation.base))
    affected = [s for s, variants in compared(ablation).items() if variant in variants and s != SWEEPS["token_drop"]]
    if hop_ms == base_hop_ms or not affected:
        return []
    message = (
        f"the base {ablation.base!r} has {base_hop_ms}, so the same x would mean a different length or resolution; "
        "vary view.compression instead"
    )
    return [Problem.between("front_end.hop_ms", hop_ms, message)]


def _plot_problems(ablation: Ablation, sweeps: list[str]) -> list[Problem]:
    if ablation.plot == "factor":
        message = "needs a `grid`, whose first setting is the x axis; use plot: curves for named variants"
        return [] if ablation.grid else [Problem.between("plot", ablation.plot, message)]
    needed = _NEEDED[ablation.plot]
    if any(sweep in needed for sweep in sweeps):
        return []
    message = f"needs an evaluation over {' or '.join(needed)}; the base has: {', '.join(sweeps)}"
    return [Problem.between("plot", ablation.plot, message)]
