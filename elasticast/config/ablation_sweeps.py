"""Sweeps over which the variants of an ablation are compared, and problems that prevent a comparison."""

from elasticast.config.ablation import Ablation
from elasticast.config.evaluation import Evaluation
from elasticast.config.suite import Suite
from elasticast.errors import Problem

Point = tuple[float, float | None]
"""x and compression of a point of a sweep; the compression is None if the sweep is no grid."""
GRID = "length and resolution"
SWEEPS = {
    "max_frames": "length",
    "compression": "resolution",
    "patch_size": "patch size",
    "patch_width": "patch width",
    "token_drop": "tokens left out",
    "token_merge": "tokens merged",
    "token_prune": "tokens pruned",
    "sample_rate": "sample rate",
}
SHARES = (SWEEPS["token_drop"], SWEEPS["token_merge"], SWEEPS["token_prune"])
"""Sweeps over a share of the tokens."""
COSTLY = (SWEEPS["patch_size"], SWEEPS["patch_width"], *SHARES)
"""Sweeps whose results include the operations per clip."""
OTHER_HOPS = (*SHARES, SWEEPS["sample_rate"])
"""Sweeps of which the same x means the same at any hop."""
_NEEDED = {"heat_map": (GRID,), "cost": COSTLY, "curves": tuple(SWEEPS.values())}
_DECIMALS = 6  # makes 1.2 from a file and a computed 1.2 the same point


def evaluations_of(suite: Suite, variant: str, sweep: str) -> dict[str, Evaluation]:
    """The evaluations of a variant's sweep on split test; those with windows only if there are no others."""
    if sweep == GRID:
        evaluations = suite.sweep(variant).items()
        return {n: e for n, e in evaluations if e.compression is not None and e.split == "test"}
    x_name = next(key for key, name in SWEEPS.items() if name == sweep)
    return suite.curve(variant, x_name)


def point(x: float, compression: float | None) -> Point:
    """A point, rounded so that equal points compare equal."""
    return round(x, _DECIMALS), compression and round(compression, _DECIMALS)


def points_of(suite: Suite, variant: str, sweep: str) -> list[Point]:
    """The points of a variant's sweep, sorted."""
    evaluations = evaluations_of(suite, variant, sweep).values()
    return sorted({point(x, c) for e in evaluations for c in e.compression or [None] for x in e.x})


def sweeps_of(suite: Suite, variant: str) -> list[str]:
    """The sweeps that a variant has."""
    return [sweep for sweep in (*SWEEPS.values(), GRID) if points_of(suite, variant, sweep)]


def compared(ablation: Ablation) -> dict[str, list[str]]:
    """The sweeps over which variants are compared: those of the base, each with the variants that have it."""
    variants = list(ablation.experiments)
    return {
        sweep: [v for v in variants if points_of(ablation, v, sweep)] for sweep in sweeps_of(ablation, ablation.base)
    }


def shared_points(ablation: Ablation, sweep: str) -> list[Point]:
    """The points that all variants with a sweep have; mean and worst score of the sweep are taken over them."""
    points = [points_of(ablation, variant, sweep) for variant in compared(ablation)[sweep]]
    return sorted(set(points[0]).intersection(*points))


def native_point(points: list[Point], sweep: str) -> Point:
    """The point with most of a clip: the greatest length or rate, the finest resolution, the most tokens."""
    if sweep in (SWEEPS["max_frames"], SWEEPS["sample_rate"]):
        return points[-1]
    return min(points, key=lambda p: (p[1], -p[0])) if sweep == GRID else points[0]


def comparison_problems(ablation: Ablation) -> list[tuple[str | None, Problem]]:
    """Problems that prevent comparing the variants of an ablation, or drawing them as the file asks.

    Returns
    -------
    list of (str or None, Problem)
        Variant and problem; the variant is None for a problem of the whole ablation. Keys of problems are relative to
        the variant, or to the top of the file.
    """
    base = ablation.runs[ablation.base]
    problems: list[tuple[str | None, Problem]] = []
    for variant, run in ablation.runs.items():
        for key in ("dataset", "task"):
            value, expected = getattr(run, key), getattr(base, key)
            if value != expected:
                message = f"differs from the base {ablation.base!r}, which has {expected!r}: test clips would differ"
                problems.append((variant, Problem.between(key, value, message)))
    sweeps = compared(ablation)
    if not sweeps:
        evaluations = ablation.experiments[ablation.base].evaluations
        message = "none of them uses split test, on which variants are compared"
        problems.append((None, Problem.between("evaluations", evaluations, message)))
    for sweep in sweeps:
        if not shared_points(ablation, sweep):
            message = f"no point of the sweep over {sweep} is shared by {', '.join(sweeps[sweep])}"
            problems.append((None, Problem("", ("evaluations",), message)))
    for variant in ablation.runs:
        problems += [(variant, problem) for problem in _hop_problems(ablation, variant)]
        if sweeps and not any(variant in variants for variants in sweeps.values()):
            message = f"expected a sweep of the base {ablation.base!r} on split test: {', '.join(sweeps)}"
            problems.append(
                (variant, Problem.between("evaluations", ablation.experiments[variant].evaluations, message))
            )
    return problems or [(None, problem) for problem in _plot_problems(ablation, list(sweeps))]


def _hop_problems(ablation: Ablation, variant: str) -> list[Problem]:
    """Problems of a variant with another hop than the base, so that the same x is another length or resolution."""
    hop_ms, base_hop_ms = (ablation.runs[v].front_end.hop_ms for v in (variant, ablation.base))
    swept = [s for s, variants in compared(ablation).items() if variant in variants and s not in OTHER_HOPS]
    if hop_ms == base_hop_ms or not swept:
        return []
    message = (
        f"differs from the base {ablation.base!r}, which has {base_hop_ms}: the same x would be another length or "
        "resolution. Vary view.compression instead"
    )
    return [Problem.between("front_end.hop_ms", hop_ms, message)]


def _plot_problems(ablation: Ablation, sweeps: list[str]) -> list[Problem]:
    if ablation.plot == "factor":
        message = "needs a `grid`, whose first setting is the figure's axis; use plot: curves for named variants"
        return [] if ablation.grid else [Problem.between("plot", ablation.plot, message)]
    needed = _NEEDED[ablation.plot]
    if any(sweep in needed for sweep in sweeps):
        return []
    message = f"needs an evaluation over {' or '.join(needed)}; the base has: {', '.join(sweeps)}"
    return [Problem.between("plot", ablation.plot, message)]
