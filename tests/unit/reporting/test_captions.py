"""Captions say what is drawn: the kind of band, the number of seeds, released curves, curves of another suite."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from elasticast.evaluation.records import write_table
from elasticast.reporting.read_tables import INTERVALS, RELEASED
from elasticast.text import rst
from tests.unit.reporting.toy_suite import (
    EVALUATIONS,
    drawn_figure,
    from_metrics,
    line_texts,
    metrics_table,
    run_script,
    score,
)

CAPTIONS = Path(__file__).parents[3] / "workflow" / "report"
HALF_WIDTH = 0.013  # of the intervals, unlike the range of the seeds
FIGURES = {"fig1_teaser": "lengths", "fig4_length_curves": "lengths", "fig5_resolution_curves": "hops"}


def write_intervals(
    project: Path, names: tuple[str, ...] = ("ast64", "ast128", "hop20", "elastic"), chance: float | None = None
) -> list[str]:
    """Intervals of some experiments, and the argument of a script that reads them."""
    means = (
        metrics_table().query("metric == 'mAP'").groupby(["experiment", "evaluation", "x_name", "x"])["value"].mean()
    )
    rows = [
        ["toy_suite", name, evaluation, x_name, x, "mAP", value, value - HALF_WIDTH, value + HALF_WIDTH, 2, 50]
        for (name, evaluation, x_name, x), value in means.items()
        if name in names
    ]
    table = pd.DataFrame(rows, columns=list(INTERVALS))
    write_table(project / "intervals.csv", table if chance is None else table.assign(chance=chance), {})
    return ["--intervals", str(project / "intervals.csv")]


def write_released(project: Path) -> list[str]:
    """A released curve of AST 64 over length, and the argument of a script that reads it."""
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["experiments"]["ast64"]["released"] = {"dataset": "toy", "series": "ast_64"}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    rows = [["toy", "max_frames", x, "ast_64", "mAP", 0.4, "page 1"] for x in EVALUATIONS["lengths"]["x"]]
    pd.DataFrame(rows, columns=list(RELEASED)).to_csv(project / "released.csv", index=False)
    return ["--released", str(project / "released.csv")]


def set_seeds(project: Path, seeds: tuple[int, ...]) -> None:
    """A suite with at least these seeds, and results of exactly these."""
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["seeds"] = list(range(max(2, len(seeds))))
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    write_table(project / "metrics.csv", metrics_table(seeds=seeds), {})


def bands_of(figure: Figure, evaluation: str, last: int = 1) -> set[str]:
    """The kinds of the bands that a figure shows, from their edges; `last` is the last seed."""
    xs, kinds = EVALUATIONS[evaluation]["x"], set()
    expected = {
        (name, kind): {
            (x, round(100 * edge, 6))
            for x in xs
            for edge in (
                (score(name, 0, x), score(name, last, x))
                if kind == "seeds"
                else (score(name, 0, x) + 0.01 - HALF_WIDTH, score(name, 0, x) + 0.01 + HALF_WIDTH)
            )
        }
        for name in ("ast64", "ast128", "hop20", "elastic")
        for kind in ("seeds", "interval")
    }
    for ax in figure.axes:
        for band in ax.findobj(PolyCollection):
            edges = {(round(x, 6), round(y, 6)) for x, y in np.concatenate([p.vertices for p in band.get_paths()])}
            kinds |= {kind for (_, kind), points in expected.items() if points == edges} or {"unknown"}
    return kinds


def lines_with(figure: Figure, **look) -> list:
    lines = [line for ax in figure.axes for line in ax.get_lines()]
    return [line for line in lines if all(getattr(line, f"get_{key}")() == value for key, value in look.items())]


CASES = {
    "intervals": {"intervals": True},
    "partial, without intervals": {},
    "intervals of some curves": {"intervals": ("ast64",)},
    "one seed": {"seeds": (0,)},
    "three seeds": {"seeds": (0, 1, 2)},
    "one seed with intervals": {"seeds": (0,), "intervals": True},
    "released curves": {"intervals": True, "released": True},
    "another suite": {"beside": True},
    "nothing has run": {"seeds": ()},
}


@pytest.mark.parametrize(
    ("name", "case"),  # figure 1 shows our curves alone
    [
        (name, case)
        for name in FIGURES
        for case in CASES
        if name != "fig1_teaser" or not set(CASES[case]) - {"seeds", "intervals"}
    ],
)
def test_caption_and_legend_say_what_is_drawn(project, two, monkeypatch, name, case):
    how, arguments = CASES[case], from_metrics(project)
    seeds = how.get("seeds", (0, 1))
    set_seeds(project, seeds)
    if how.get("intervals"):
        arguments += write_intervals(project, *([how["intervals"]] if how["intervals"] is not True else []))
    arguments += write_released(project) if how.get("released") else []
    arguments = two if how.get("beside") else arguments
    figure, caption = drawn_figure(project, monkeypatch, name, arguments)
    legend = line_texts(figure)

    bands = bands_of(figure, FIGURES[name], last=max(seeds, default=0))
    if len(seeds) == 1 and how.get("intervals"):  # around the mean of two seeds, not around this one's score
        assert len(figure.axes[0].findobj(PolyCollection)) > 0
        bands = {"interval"}
    assert "unknown" not in bands
    assert ("95 % interval" in caption) == ("95 % interval" in legend) == ("interval" in bands)
    assert ("minimum and maximum" in caption) == (f"min–max of {len(seeds)} seeds" in legend) == ("seeds" in bands)
    assert ("no bands" in caption) == (not bands and len(seeds) > 0)
    assert (len(seeds) > 1) == (f"means over {len(seeds)} seeds" in caption)
    assert (len(seeds) == 1) == ("one seed" in caption)
    assert (len(seeds) == 0) == ("No run" in caption) == ("of those listed" not in caption)
    assert (len(seeds) > 0) == ("toy (synthetic) 50 of 60" in caption)
    assert (len(seeds) > 0) == ("toy (synthetic): 50 of 60 test clips" in legend)
    assert bool(lines_with(figure, marker="x")) == ("released" in caption) == ("released values" in legend)
    dotted = [line for line in lines_with(figure, marker="None") if len(line.get_xdata()) > 2]
    if name != "fig1_teaser":  # whose names are tied to the curves by lines
        assert bool(dotted) == ("Toy, otherwise" in caption) == ("Toy, otherwise" in legend)
    opened = lines_with(figure, markersize=6, markerfacecolor="white")
    trained = "training resolution" if FIGURES[name] == "hops" else "training length"
    assert bool(opened) == (trained in caption) == (trained in legend)


def test_curves_with_different_bands_are_named(project, monkeypatch):
    arguments = [*from_metrics(project), *write_intervals(project, ("ast64",))]
    _, caption = drawn_figure(project, monkeypatch, "fig4_length_curves", arguments)
    assert re.search(r"interval[^;]*\(AST 64\)", caption)
    assert re.search(r"minimum and maximum over seeds \((AST 128, ElasticAST|ElasticAST, AST 128)\)", caption)


@pytest.mark.parametrize(("chance", "near"), [(0.35, True), (0.01, False), (None, False)])
@pytest.mark.parametrize("name", FIGURES)
def test_chance_is_a_line_near_the_curves_and_a_number_far_from_them(project, monkeypatch, name, chance, near):
    arguments = [*from_metrics(project), *write_intervals(project, chance=chance)]
    figure, caption = drawn_figure(project, monkeypatch, name, arguments)
    lines = [line for line in figure.axes[0].get_lines() if set(line.get_ydata()) == {100 * (chance or np.nan)}]
    texts = line_texts(figure)
    assert bool(lines) == ("chance" in texts) == near
    assert any(text.startswith("↓ chance") for text in texts) == (chance is not None and not near)
    assert (f"{100 * (chance or 0):.1f} % mAP" in caption) == (chance is not None)
    assert ("Chance" in caption) == (chance is not None)


@pytest.mark.parametrize("known", [True, False])
def test_a_known_ceiling_is_a_line_in_figure_legend_and_caption(project, monkeypatch, known):
    values = [0.7, 0.8, 0.9, 0.95] if known else None
    monkeypatch.setattr("elasticast.reporting.panels.ceilings", lambda *_: values)
    figure, caption = drawn_figure(project, monkeypatch, "fig4_length_curves", from_metrics(project))
    lines = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert ([100 * value for value in values or ()] in lines) == known
    assert ("ceiling" in line_texts(figure)) == ("ceiling" in caption) == known


def test_a_training_length_outside_the_sweep_has_no_marker_and_no_words(project, monkeypatch):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    for name in ("ast64", "ast128"):
        raw["experiments"][name]["view"]["frames"] = 16
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    figure, caption = drawn_figure(project, monkeypatch, "fig4_length_curves", from_metrics(project))
    assert not lines_with(figure, markersize=6, markerfacecolor="white")
    assert "training length" not in caption
    assert "training length" not in line_texts(figure)


# ---------------------------------------------------------------------------------------------
# In the report
# ---------------------------------------------------------------------------------------------


def rendered(name: str, **output: str) -> str:
    """A caption as the report shows it: text without tags."""
    snakemake = SimpleNamespace(
        output=SimpleNamespace(**output),
        config={"suite": "toy_suite"},
        wildcards=SimpleNamespace(ablation="trial", bench="packing"),
    )
    text = Environment(trim_blocks=True).from_string((CAPTIONS / f"{name}.rst").read_text()).render(snakemake=snakemake)
    html = publish_parts(text, writer="html")["body"]
    assert "problematic" not in html
    assert "system-message" not in html
    return " ".join(re.sub("<[^>]*>", "", html).split())


@pytest.mark.parametrize("name", FIGURES)
def test_the_reports_caption_includes_that_of_the_script(project, name):
    out = run_script(project, name, *from_metrics(project))
    written = " ".join(out.with_suffix(".rst").read_text().split())
    assert written in rendered(name, caption=f"{out}.rst")


def test_names_are_not_taken_as_markup(tmp_path):
    names = ["AST_", "a*b*c", "`x`", "|y|", "back\\slash", "two__"]
    (tmp_path / "caption.rst").write_text("Bands of " + ", ".join(map(rst, names)) + ".\n")
    assert ", ".join(names) in rendered("fig4_length_curves", caption=str(tmp_path / "caption.rst"))


@pytest.mark.parametrize("path", sorted(CAPTIONS.glob("*.rst")), ids=lambda path: path.stem)
def test_every_caption_is_valid(tmp_path, path):
    (tmp_path / "caption.rst").write_text("What is drawn.\n")
    assert len(rendered(path.stem, caption=str(tmp_path / "caption.rst"))) > 50
