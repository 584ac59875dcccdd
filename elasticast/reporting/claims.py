"""Tests of the claims of a suite (`elasticast.config.suite.Claim`) on our results and on the released curves."""

from dataclasses import dataclass

import pandas as pd

from elasticast.config import Suite
from elasticast.config.suite import Claim
from elasticast.reporting.panels import NOT_RUN, Panel, Series
from elasticast.reporting.read_tables import DECIMALS

HOLDS, FAILS, NOT_TESTED = "holds", "does not hold", "not in sweep"  # outcomes of a rule
HELD, NOT_HELD, UNDECIDED, UNTESTED = "held", "not held", "undecided", "not tested"  # and of a claim
LEVEL = 0.05
"""A rule that fails with a larger corrected p-value leaves its claim undecided."""
_TOLERANCE = 1e-9  # points, for rounding errors: a model that is 1.0 below counts as within 1.0


@dataclass(frozen=True)
class RuleTest:
    """The result of testing one rule of a claim against one AST.

    Attributes
    ----------
    claim, says : str
        Name and text of the claim.
    model, against : str
        Names of the compared experiments: an ElasticAST and an AST.
    rule : str
        The rule in words.
    x : float or None
        The x with the smallest difference. None if nothing was compared.
    difference : float or None
        Smallest difference in points, model minus AST. None if nothing was compared.
    outcome : str
        `HOLDS`, `FAILS`, `NOT_TESTED` or ``not run``.
    """

    claim: str
    says: str
    model: str
    against: str
    rule: str
    x: float | None
    difference: float | None
    outcome: str


def judge_claims(suite: Suite, panels: list[Panel], *, released: bool = False) -> list[RuleTest]:
    """Test all rules of all claims on our means, or on the released curves.

    Parameters
    ----------
    panels : list of Panel
        All panels of the suite, over length and over resolution.
    released : bool, default False
        Test the released curves instead of our means.
    """
    tests = []
    for name, claim in suite.claims.items():
        sweep = suite.evaluations[claim.evaluation]
        series = {s.experiment: s for p in panels if p.x_name == sweep.x_name for s in p.series}
        curves = {key: _points(s, sweep.x, released) for key, s in series.items()}
        for against in claim.against:
            difference = 100 * (curves[claim.model] - curves[against])
            hop_ms = suite.runs[against].front_end.hop_ms
            place = format_place(series[against].trained_at, sweep.x_name, hop_ms)
            tests += _test_rules(name, claim, against, (series[against].trained_at, place), difference)
            if claim.better == "native":
                about = (name, claim.says, claim.model, against, f"better on whole clips than at {place}")
                ends = [_scores(s, released) for s in (series[claim.model], series[against])]
                tests.append(_test_native(about, ends, max(sweep.x), series[against].trained_at))
    return tests


def format_place(x: float, x_name: str, hop_ms: float) -> str:
    """Text for one x of a sweep: a number of frames, or a hop in ms."""
    return f"{x:g} frames" if x_name == "max_frames" else f"{hop_ms * x:g} ms hop"


def _points(series: Series, xs: list[float], released: bool) -> pd.Series:
    """Scores (fractions) at every x of a sweep; NaN where the curve has no point."""
    points = series.released if released else series.points["mean"]
    index = [round(x, DECIMALS) for x in xs]
    return pd.Series(dtype=float).reindex(index) if points is None else points.reindex(index)


def _test_rules(
    name: str, claim: Claim, against: str, trained: tuple[float, str], difference: pd.Series
) -> list[RuleTest]:
    """Test the rules of a claim against one AST; `trained` is the x at which that AST was trained, and its text."""
    about, (trained_x, place) = (name, claim.says, claim.model, against), trained
    tests = []
    if claim.within_own is not None:
        rule = f"within {claim.within_own:g} at {place}"
        tests.append(_test_rule(about, rule, difference[difference.index == trained_x], -claim.within_own - _TOLERANCE))
    if claim.better in ("beyond", "elsewhere"):
        beyond = claim.better == "beyond"
        rest = difference[difference.index > trained_x] if beyond else difference[difference.index != trained_x]
        tests.append(_test_rule(about, f"better {'beyond' if beyond else 'elsewhere than'} {place}", rest, _TOLERANCE))
    return tests


def _test_rule(about: tuple[str, str, str, str], rule: str, difference: pd.Series, least: float) -> RuleTest:
    """Test whether all differences are at least `least` points.

    A single smaller difference makes the rule fail, even if other points are missing.
    """
    if difference.empty:
        return RuleTest(*about, rule, None, None, NOT_TESTED)
    if difference.isna().all():
        return RuleTest(*about, rule, None, None, NOT_RUN)
    x = float(difference.idxmin())
    outcome = FAILS if difference[x] < least else NOT_RUN if difference.isna().any() else HOLDS
    return RuleTest(*about, rule, x, float(difference[x]), outcome)


def _scores(series: Series, released: bool) -> pd.DataFrame:
    """Columns mean, low, high by x; low and high are the mean where there is no 95 % interval."""
    if series.interval and not released:
        return series.points[["mean", "low", "high"]]
    means = series.released if released else series.points["mean"]
    means = pd.Series(dtype=float) if means is None else means
    return pd.DataFrame(dict.fromkeys(("mean", "low", "high"), means))


def _test_native(
    about: tuple[str, str, str, str, str], curves: list[pd.DataFrame], whole: float, trained: float
) -> RuleTest:
    """Test whether a model is better on whole clips than an AST where it was trained, with intervals that are apart.

    Parameters
    ----------
    curves : list of pandas.DataFrame
        Scores of the model and of the AST, see `_scores`.
    whole, trained : float
        The x of whole clips, and that at which the AST was trained.
    """
    model, ast = (
        curve.reindex([round(x, DECIMALS)]).iloc[0] for curve, x in zip(curves, (whole, trained), strict=True)
    )
    if pd.isna(model["mean"]) or pd.isna(ast["mean"]):
        return RuleTest(*about, None, None, NOT_RUN)
    outcome = HOLDS if 100 * (model["low"] - ast["high"]) > _TOLERANCE else FAILS
    return RuleTest(*about, whole, float(100 * (model["mean"] - ast["mean"])), outcome)


def combine_outcomes(outcomes: list[str]) -> str:
    """Combine the outcomes of several rules: the first of fails, not run, holds and not tested that occurs."""
    for outcome in (FAILS, NOT_RUN, HOLDS, NOT_TESTED):
        if outcome in outcomes:
            return outcome
    return "no claim"


def conclude(outcomes: pd.Series, ps: pd.Series | None = None) -> str:
    """Conclude from the rules of a claim whether it held.

    Parameters
    ----------
    outcomes : pandas.Series of str
        Outcomes of all rules of the claim.
    ps : pandas.Series of float, optional
        Corrected p-value of each rule's smallest difference, with the index of `outcomes`; NaN if not computed.

    Returns
    -------
    str
        ``held`` if all rules hold for the means. ``not held`` if a rule fails, and its p-value is below `LEVEL` or was
        not computed. ``undecided`` if rules fail only by differences that chance alone can make. Else ``not tested``.
    """
    combined = combine_outcomes(list(outcomes))
    if combined == FAILS:
        chance = ps is not None and (ps[outcomes == FAILS] >= LEVEL).all()
        return UNDECIDED if chance else NOT_HELD
    return HELD if combined == HOLDS else UNTESTED
