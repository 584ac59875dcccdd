"""Colour, dashes and marker identify a model: the same in every figure, and different to eyes that see less colour."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from elasticast.config.load_ablation import load_ablation
from elasticast.config.load_suite import load_suite
from elasticast.reporting.identity import ELASTICAST, styles_by_name, styles_of
from elasticast.reporting.style import line_styles

CONFIG = Path(__file__).parents[3] / "config"
SUITES = sorted(path.stem for path in (CONFIG / "suites").glob("*.yaml"))
ABLATIONS = sorted(path.stem for path in (CONFIG / "ablations").glob("*.yaml"))
CLOSE = 8  # CIELAB; a difference of 2 to 3 is just noticeable side by side

# Machado, Oliveira & Fernandes (2009), doi:10.1109/TVCG.2009.113: deuteranopia (severity 1), on linear sRGB
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


def linear(color: str) -> np.ndarray:
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    t = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def in_grey(color: str) -> np.ndarray:
    return lab(np.full(3, TO_XYZ[1] @ linear(color)))


SEEN = {
    "in colour": lambda color: lab(linear(color)),
    "by deuteranopes": lambda color: lab(DEUTERANOPIA @ linear(color)),
    "in grey": in_grey,
}


def together(suite) -> list[list[str]]:
    """The labels of each figure of curves."""
    x_names = {evaluation.x_name for evaluation in suite.evaluations.values()}
    by_figure = [
        [suite.experiments[name].label for name in suite.experiments if suite.curve(name, x_name)] for x_name in x_names
    ]
    return [list(dict.fromkeys(labels)) for labels in by_figure]


def assert_distinct(styles, labels, seen) -> None:
    for a, b in itertools.combinations(labels, 2):
        one, other = styles[a], styles[b]
        if (one.dashes, one.marker) == (other.dashes, other.marker):
            assert np.linalg.norm(seen(one.color) - seen(other.color)) >= CLOSE, (a, b)


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("name", SUITES)
def test_models_of_one_figure_look_different(name, seen):
    suite = load_suite(name, CONFIG)
    styles = line_styles(suite)
    for labels in together(suite):
        assert_distinct(styles, labels, seen)


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("name", ABLATIONS)
def test_variants_of_an_ablation_look_different(name, seen):
    ablation = load_ablation(name, "fsdd", CONFIG)
    styles = line_styles(ablation, ablation.base)
    assert_distinct(styles, list(styles), seen)


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_neighbours_of_a_family_differ_in_lightness_or_hue(seen):
    """Members of the usual lengths can be told apart by colour alone."""
    suite = load_suite("mini", CONFIG)
    styles = line_styles(suite)
    for a, b in itertools.combinations(("ElasticAST", "AST 64", "AST 128", "AST 256"), 2):
        assert np.linalg.norm(seen(styles[a].color) - seen(styles[b].color)) >= CLOSE, (a, b)


def test_a_model_looks_the_same_in_every_suite_in_any_order():
    looks: dict = {}
    for suite in (load_suite(name, CONFIG) for name in SUITES):
        for name, run in suite.runs.items():
            if run.model.kind == "ast":
                key = run.view.frames, run.view.max_frames, run.view.fill, tuple(run.view.compression)
                key += (run.model.init, str(run.model.patch_sizes), str(run.model.merge), str(run.model.adapt))
                style = line_styles(suite)[suite.experiments[name].label]
                looks.setdefault(key, set()).add((style.color, style.dashes, style.marker))
    assert len(looks) > 12
    assert {key: look for key, look in looks.items() if len(look) > 1} == {}
    suite = load_suite(
        "fsdd", CONFIG
    )  # variants that differ in other settings alone share what is free, in their order
    runs = {e.label: suite.runs[name] for name, e in suite.experiments.items()}
    assert styles_of(dict(reversed(runs.items()))) == styles_of(runs)


@pytest.mark.parametrize("name", SUITES)
def test_the_look_of_elasticast_is_its_alone_in_suites(name):
    suite = load_suite(name, CONFIG)
    for experiment, run in suite.runs.items():
        style = line_styles(suite)[suite.experiments[experiment].label]
        elastic = run.model.kind == "elasticast"
        if elastic:  # NaFlex and variants of ElasticAST have looks of their own
            changed = (run.model.padding, run.model.merge, run.train.phases, run.train.stages, run.train.distill)
            elastic = not any(changed) and run.model.positions != "grid"
        assert (style.color == ELASTICAST) == (style.width > 1.5) == elastic


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_look_of_elasticast_is_its_alone_in_ablations(name):
    ablation = load_ablation(name, "fsdd", CONFIG)
    styles = line_styles(ablation, ablation.base)
    thick = {v for v, e in ablation.experiments.items() if styles[e.label].width > 1.5}
    assert all(ablation.runs[v].model.kind == "elasticast" for v in thick)
    if ablation.runs[ablation.base].model.kind == "elasticast":
        assert styles[ablation.experiments[ablation.base].label].color == ELASTICAST


def test_names_alone_give_different_looks_that_do_not_depend_on_order():
    names = ["ast", "beats", "panns", "yamnet", "clap"]
    styles = styles_by_name(names)
    assert len({(s.color, s.dashes, s.marker) for s in styles.values()}) == len(names)
    assert all(styles_by_name([name])[name] == styles_by_name([name, "other"])[name] for name in names)
    for seen in SEEN.values():
        assert_distinct(styles, names, seen)
