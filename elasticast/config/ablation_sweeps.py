"""Sweeps that the variants of an ablation have in common: what they can be compared over, and whether they can be."""

from elasticast.config.ablation import Ablation
from elasticast.config.evaluation import Evaluation
from elasticast.config.suite import Suite

Point = tuple[float, float | None]
"""x, and in a grid the compression; none: a sweep over x alone."""
GRID = "length and resolution"
SWEEPS = {"max_frames": "length", "compression": "resolution", "token_drop": "tokens left out"}
_NEEDED = {"heat_map": (GRID,), "cost": (SWEEPS["token_drop"],), "curves": tuple(SWEEPS.values())}
_DECIMALS = 6  # keeps 1.2 from a file and 1.2 from arithmetic the same point


def evaluations_of(suite: Suite, variant: str, sweep: str) -> dict[str, Evaluation]:
    """The evaluations of a variant that make a sweep, on split test; windows only where there is nothing else."""
    if sweep == GRID:
        found = suite.sweep(variant).items()
        return {n: e for n, e in found if e.compression is not None and e.split == "test"}
    x_name = next(key for key, name in SWEEPS.items() if name == sweep)
    return suite.curve(variant, x_name)


def point(x: float, compression: float | None) -> Point:
    """A point as it is looked up."""
    return round(x, _DECIMALS), compression and round(compression, _DECIMALS)


def points_of(suite: Suite, variant: str, sweep: str) -> list[Point]:
    """The points of a variant's sweep, in order."""
    evaluations = evaluations_of(suite, variant, sweep).values()
    return sorted({point(x, c) for e in evaluations for c in e.compression or [None] for x in e.x})


def sweeps_of(suite: Suite, variant: str) -> list[str]:
    """The sweeps that a variant has."""
    return [sweep for sweep in (*SWEEPS.values(), GRID) if points_of(suite, variant, sweep)]


def compared(ablation: Ablation) -> dict[str, list[str]]:
    """The sweeps that variants are compared over: those of the base, each with the variants that have it."""
    variants = list(ablation.experiments)
    return {
        sweep: [v for v in variants if points_of(ablation, v, sweep)] for sweep in sweeps_of(ablation, ablation.base)
    }


def shared_points(ablation: Ablation, sweep: str) -> list[Point]:
    """The points that all variants with a sweep have: what means over it, and its worst, are taken over."""
    points = [points_of(ablation, variant, sweep) for variant in compared(ablation)[sweep]]
    return sorted(set(points[0]).intersection(*points))


def native_point(points: list[Point], sweep: str) -> Point:
    """The point at which most of a clip is seen: the greatest length, the finest resolution, the fewest left out."""
    if sweep == SWEEPS["max_frames"]:
        return points[-1]
    return min(points, key=lambda p: (p[1], -p[0])) if sweep == GRID else points[0]


def comparison_problems(ablation: Ablation) -> list[str]:
    """Why the variants of an ablation cannot be compared, or not drawn as it says."""
    base, problems = ablation.base, []
    for variant, run in ablation.runs.items():
        for key in ("dataset", "task"):
            own, others = getattr(run, key), getattr(ablation.runs[base], key)
            if own != others:
                problems.append(f"{variant}: {key}: {own!r}, but {others!r} of the base {base!r}: no common test clips")
    sweeps = compared(ablation)
    if not sweeps:
        problems.append(f"{base}: evaluations: none on split test, which variants are compared on")
    for sweep in sweeps:
        if not shared_points(ablation, sweep):
            problems.append(f"evaluations: no point of the sweep over {sweep} is shared by {', '.join(sweeps[sweep])}")
    problems += [problem for variant in ablation.runs if (problem := _other_seconds(ablation, variant))]
    apart = [v for v in ablation.runs if sweeps and not any(v in variants for variants in sweeps.values())]
    problems += [f"{v}: evaluations: no sweep of the base {base!r} ({', '.join(sweeps)}) on split test" for v in apart]
    return problems or _plot_problems(ablation, list(sweeps))


def _other_seconds(ablation: Ablation, variant: str) -> str:
    """What to say of a variant whose x are not those of the base in seconds or ms; empty where they are."""
    own, others = (ablation.runs[v].front_end.hop_ms for v in (variant, ablation.base))
    swept = [s for s, variants in compared(ablation).items() if variant in variants and s != SWEEPS["token_drop"]]
    if own == others or not swept:
        return ""
    said = "the same x would be another length or resolution; vary view.compression instead"
    return f"{variant}: front_end.hop_ms: {own}, but {others} of the base {ablation.base!r}: {said}"


def _plot_problems(ablation: Ablation, sweeps: list[str]) -> list[str]:
    if ablation.plot == "factor":
        needed = "a `grid`, whose first setting is the figure's axis; named variants are drawn by plot: curves"
        return [] if ablation.grid else [f"plot: factor needs {needed}"]
    needed = _NEEDED[ablation.plot]
    if any(sweep in needed for sweep in sweeps):
        return []
    return [f"plot: {ablation.plot} needs an evaluation over {' or '.join(needed)}, the base has: {', '.join(sweeps)}"]
