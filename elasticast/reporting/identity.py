"""Colour, dashes and marker of a model, from what it is: the same model looks the same in every suite and figure.

The hue and the marker show the family: ElasticAST, or an AST by what it does with short clips. In a family, longer
training clips are darker and have other dashes; the hop changes dashes and saturation. A family has its own marker,
because a deuteranope sees some hues as one, and print in grey sees all of them as one.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import seaborn as sns
from matplotlib.colors import to_hex

from elasticast.config.run import RunSettings


@dataclass(frozen=True)
class LineStyle:
    """Line style of one label, the same in every panel of a figure."""

    color: str
    dashes: tuple[float, ...]
    marker: str
    width: float
    zorder: float

    def line(self) -> dict:
        """Keyword arguments for a matplotlib line."""
        style = (0, self.dashes) if self.dashes else "-"
        look = {"color": self.color, "linestyle": style, "linewidth": self.width, "marker": self.marker}
        return {**look, "markersize": 3.2, "markeredgecolor": "white", "markeredgewidth": 0.4, "zorder": self.zorder}

    def text_color(self) -> tuple[float, ...]:
        """The colour of the line, darkened so that small text in it is readable on white."""
        return sns.dark_palette(self.color, 10)[9 if self.width > _WIDTH else 6]


class _Family(NamedTuple):
    """Hues (0 to 360) of the darkest and of the lightest member, the saturation (0 to 1), and the marker."""

    dark: float
    light: float
    saturation: float
    marker: str


ELASTICAST = "#08306B"
"""The colour of ElasticAST, of no other model."""
_LOOKS = {"elasticast": "elastic", "ast": "by fill"}
"""Looks of the models of the paper, by kind. Another kind has the hue that follows from its name."""
_FILLS = {
    "zeros": _Family(8, 60, 0.95, "s"),
    "repeat": _Family(155, 110, 0.95, "^"),
    "mask": _Family(300, 330, 0.75, "D"),
    "buckets": _Family(210, 190, 0.95, "v"),
    "edge": _Family(85, 85, 0.6, "P"),
}
_NAFLEX = _Family(20, 50, 0.9, "P")
"""ElasticAST with padding, or with a table of positions that is resized to each clip."""
_FLEXIBLE = _Family(185, 165, 0.9, "*")
"""Models trained with patches of several sizes, besides ElasticAST."""
_OTHERS = tuple(
    _Family(hue, hue, saturation, marker)
    for (hue, saturation), marker in zip(
        ((0, 0.0), (40, 0.4), (345, 0.9), (100, 0.9), (220, 0.8)), ("X", "p", "h", "<", ">"), strict=True
    )
)
# blue and purple, so that they remain close to ElasticAST; neighbours in this list differ in lightness
_VARIANTS = ("#4292C6", "#5E3C99", "#9DB9E3", "#1F6E8C", "#A58BD1", "#3A5FCD", "#7FC4CF", "#7B3FA0")
# the first is for 128 frames, the third for 256, and so on; lengths that are often compared differ most
_DASHES = (
    (4, 1.5),
    (2, 1),
    (6, 1.5, 1.2, 1.5),
    (6, 1.2, 1.2, 1.2, 1.2, 1.2),
    (9, 2.5),
    (1.2, 1.2),
    (3, 1, 1, 1, 3, 2),
)
_DARK, _LIGHT = 0.26, 0.77  # lightness of CIELUV, 0 to 1
_SHORTEST, _LONGEST = 5.0, 11.0  # log2 of the frames of the lightest and of the darkest member
_STEP = 0.17  # in lightness, to separate models that differ in other settings alone
_WIDTH, _THICK = 1.2, 2.0
_MOST = 1000  # styles to try, many more than a figure has lines


def styles_of(
    runs: Mapping[str, RunSettings],
    *,
    figures: Mapping[str, set[str]] | None = None,
    colors: Mapping[str, str] | None = None,
    base: str | None = None,
) -> dict[str, LineStyle]:
    """Styles by label. Two labels of one figure never have the same colour, dashes and marker.

    Parameters
    ----------
    runs : mapping of str to RunSettings
        The settings of the model of each label.
    figures : mapping of str to set of str, optional
        The figures that each label is drawn in; by default, all are in one.
    colors : mapping of str to str, optional
        Colours by label that replace ours.
    base : str, optional
        Label of the base of an ablation. If several labels are ElasticAST, only the base (or, with another base, the
        first of them) has the look of ElasticAST; the others are variants of it. In a suite all of them have it, except
        those with another training method or with merged tokens.
    """
    elastic = [label for label, run in runs.items() if _LOOKS.get(run.model.kind) == "elastic" and not _naflex(run)]
    elastic.sort(key=lambda label: (label != base, _changed(runs[label]), len(runs[label].view.compression) > 1))
    taken: list[tuple[set[str], tuple]] = []
    styles: dict[str, LineStyle] = {}
    for label in sorted(runs, key=lambda label: label not in (*elastic[:1], base)):
        places = figures[label] if figures else {""}
        if label in elastic:
            tries = _elastic(variant=_changed(runs[label]) or (base is not None and label != elastic[0]))
        else:
            equal = [styles[other].color for other in styles if runs[other] == runs[label]]
            tries = _of_family(runs[label], _family(runs[label]), next(iter(equal), None))
        used = {look for where, look in taken if where & places}
        styles[label] = _first_free(tries, used, (colors or {}).get(label))
        taken.append((places, _look(styles[label])))
    return {label: styles[label] for label in runs}


def styles_by_name(names: Iterable[str]) -> dict[str, LineStyle]:
    """Styles by name, for models of which only the name is known."""
    styles: dict[str, LineStyle] = {}
    for name in names:
        styles[name] = _first_free(_named(name), set(map(_look, styles.values())))
    return styles


def _look(style: LineStyle) -> tuple:
    return style.color, style.dashes, style.marker


def _first_free(tries: Iterable[LineStyle], taken: set[tuple], color: str | None = None) -> LineStyle:
    """The first style whose look is not taken; `color` replaces its colour."""
    styles = (replace(style, color=color or style.color) for style in tries)
    return next(style for style in styles if _look(style) not in taken)


def _elastic(*, variant: bool) -> Iterator[LineStyle]:
    if not variant:
        for dashes, marker in zip(((), *_DASHES), itertools.cycle("oHd8")):
            yield LineStyle(ELASTICAST, dashes, marker, _THICK, 4)
    for i in range(_MOST):
        color, dashes = _VARIANTS[i % len(_VARIANTS)], _DASHES[i % len(_DASHES)]
        yield LineStyle(color, dashes, "Hd8"[i % 3], _WIDTH, 3)


def _naflex(run: RunSettings) -> bool:
    elastic = _LOOKS.get(run.model.kind) == "elastic"
    return elastic and (run.model.padding is not None or run.model.positions == "grid")


def _changed(run: RunSettings) -> bool:
    """Whether a model of a suite is a variant of another one."""
    train = run.train
    return run.model.merge is not None or bool(train.phases or train.stages) or train.distill is not None


def _family(run: RunSettings) -> _Family:
    if _naflex(run):
        return _NAFLEX
    if run.model.kind not in _LOOKS:
        return _OTHERS[_number(run.model.kind) % len(_OTHERS)]
    if run.model.patch_sizes is not None:
        return _FLEXIBLE
    return _FILLS["buckets" if run.view.frames == "native" else run.view.fill]


def _of_family(run: RunSettings, family: _Family, color: str | None) -> Iterator[LineStyle]:
    """Styles of a model: first its style by family and length, then those for models that differ in other settings.

    `color` is the colour of the same model under another label, for example evaluated in windows.
    """
    frames = run.view.max_frames if run.view.frames == "native" else run.view.frames
    octaves, slower = float(np.log2(frames)), float(np.log2(np.mean(run.view.compression)))
    dashes = round(2 * octaves) + round(4 * slower)
    length = np.clip((octaves - 0.5 * slower - _SHORTEST) / (_LONGEST - _SHORTEST), 0, 1)
    for i in range(_MOST):
        darkness = (length + i * _STEP / (_LIGHT - _DARK)) % 1.0001
        style = _member(family, darkness, dashes + i, 1 / (1 + 0.6 * abs(slower)))
        yield replace(style, color=color or style.color)


def _named(name: str) -> Iterator[LineStyle]:
    number, families = _number(name), (*_OTHERS, *_FILLS.values())
    for i in range(_MOST):
        yield _member(families[(number + i) % len(families)], (number // 16 % 3 + 0.5) / 3, number // 64 + i)


def _member(family: _Family, darkness: float, dashes: int, saturation: float = 1.0) -> LineStyle:
    hue = family.light + darkness * (family.dark - family.light)
    lightness = _LIGHT + darkness * (_DARK - _LIGHT)
    (color,) = sns.husl_palette(1, h=hue / 359, s=family.saturation * saturation, l=lightness)
    return LineStyle(to_hex(color).upper(), _DASHES[dashes % len(_DASHES)], family.marker, _WIDTH, 3)


def _number(text: str) -> int:
    """A number that depends on a text alone, unlike `hash`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
