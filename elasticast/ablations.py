"""Ablations: one model varied in one respect, one YAML file each (``config/ablations/NAME.yaml``).

A file names a `base` experiment of a suite and what is varied, as a `grid` of settings or as named `variants`. Each
variant is resolved like an experiment of the suite: its training run lies among the suite's, named after the base and
what differs from it, so that what several ablations of one base share is trained once; its evaluation belongs to the
ablation. Like `elasticast.suites` this is read by every ``snakemake -n`` and imports neither torch nor pandas.
"""

import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from elasticast.ablation_names import NAME, differences, nested, point_name, run_name, shown
from elasticast.ablation_sweeps import comparison_problems
from elasticast.config import RunConfig, Suite, start_of
from elasticast.errors import ConfigError
from elasticast.settings import Settings
from elasticast.suite_files import DIFFERENCE_KEYS, SuiteFile, merge_experiment, read_suite, unknown_file
from elasticast.suites import Resolver, load_suite, unknown_start
from elasticast.validation import deep_merge, read_yaml, unknown_keys, validate

BASE = "base"
"""The variant that is the base itself, where no other equals it."""
Plot = Literal["curves", "factor", "heat_map", "cost"]


class AblationFile(Settings):
    """What an ablation's file says for one suite, the suite's own section laid over the rest."""

    title: str
    question: str = Field("", description="what it is to find out, a sentence for the reader")
    base: str = Field(description="experiment of the suite that variants start from")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = Field(
        None, min_length=1, description="dotted setting to its values; several: every combination"
    )
    variants: dict[Annotated[str, Field(pattern=f"^{NAME}$")], dict[str, Any]] | None = Field(
        None, min_length=1, description="name to what differs from the base, or from the `base` that it names"
    )
    every: dict[str, Any] = Field({}, description="laid over every base before a variant's difference")
    evaluations: dict[str, Any] = Field({}, description="sweeps beside those of the suite")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(None, min_length=1, description="none: those of the suite")
    plot: Plot = Field(
        "curves",
        description="curves: over the sweep; factor: over the first setting of the grid; heat_map: over a grid of "
        "lengths and resolutions; cost: score over operations, of a sweep over tokens left out",
    )

    @model_validator(mode="after")
    def _one_kind(self):
        if (self.grid is None) == (self.variants is None):
            raise ValueError("give exactly one of `grid` and `variants`")
        if BASE in (self.variants or {}):
            raise ValueError(f"variants.{BASE}: this is what the base is called, which is there by itself")
        names = Counter(point_name(values) for values in itertools.product(*(self.grid or {}).values()))
        if twice := [name for name, times in names.items() if times > 1]:
            told = "leave out what stands twice, or give names of your own in `variants`"
            raise ValueError(f"grid: several points are called {', '.join(twice)}: {told}")
        return self

    def said(self) -> dict[str, dict[str, Any]]:
        """What each variant says of itself, by name."""
        if self.variants is not None:
            return self.variants
        found = {}
        for values in itertools.product(*self.grid.values()):
            difference: dict[str, Any] = {"label": ", ".join(shown(value) for value in values)}
            for key, value in zip(self.grid, values, strict=True):
                difference = deep_merge(difference, nested(key, value))
            found[point_name(values)] = difference
        return found


class Ablation(Suite):
    """An ablation, resolved: a suite of its variants, whose training runs lie among those of another suite.

    `experiments` and `runs` go by variant. The run of a variant is called ``trained[variant]``; variants that differ in
    their evaluation alone share one, and what equals an experiment of the suite is that experiment's.
    """

    suite: str = Field(description="suite among whose runs those of this ablation lie")
    question: str
    base: str = Field(description="variant that the others are compared with")
    trained: dict[str, str] = Field(description="variant to the name of its run")
    factors: dict[str, dict[str, Any]] = Field(description="variant to dotted settings in which it is not the base")
    grid: list[str] = Field([], description="dotted settings of the file's grid, in its order; none: named variants")
    plot: Plot

    @model_validator(mode="after")
    def _comparable(self):
        if problems := comparison_problems(self):
            raise ValueError("; ".join(problems))
        return self

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """The run of one variant and seed."""
        name = self.trained[experiment]
        return RunConfig.model_validate({**self.runs[experiment], "experiment": name, "seed": seed})

    def folders(self, experiment: str) -> tuple[str, str]:
        """Where the runs of a variant lie among the results, and where their evaluations do."""
        return f"{self.suite}/runs/{self.trained[experiment]}", f"{self.suite}/ablations/{self.name}/runs/{experiment}"


def load_ablation(name: str, suite: str, config_dir: Path = Path("config")) -> Ablation:
    """Read, merge and check an ablation of a suite.

    Raises
    ------
    ConfigError
        If anything in it is wrong, or it is not for this suite.
    """
    path = config_dir / "ablations" / f"{name}.yaml"
    content = read_yaml(path)
    loaded, file = load_suite(suite, config_dir), read_suite(suite, config_dir / "suites")
    said = _for_suite(content, file, str(path))
    if said is None and "suites" in content:
        raise ConfigError([f"{path}: suites: not for suite {suite!r}, but for {', '.join(content['suites'])}"])
    return _resolve(name, content if said is None else said, str(path), loaded, file, config_dir)


def load_resolved_ablation(path: Path) -> Ablation:
    """Read `results/SUITE/ablations/NAME/ablation.yaml`: an ablation as it was run."""
    return validate(Ablation, read_yaml(path), str(path))


def ablation_files(config_dir: Path = Path("config")) -> list[Path]:
    """The files of all ablations; those that begin with a dot are an editor's.

    Raises
    ------
    ConfigError
        If a name cannot be a target's: `NAME_table` is what the table of `NAME` is called.
    """
    files = [p for p in sorted((config_dir / "ablations").glob("*.yaml")) if not p.name.startswith(".")]
    expected = "expected letters, digits, _ and -, beginning with no -, and not ending in _table"
    wrong = [p for p in files if not re.fullmatch(NAME, p.stem) or p.stem.endswith("_table")]
    if wrong:
        raise ConfigError([f"{path}: name of an ablation: {expected}" for path in wrong])
    return files


def load_ablations(suite: Suite, config_dir: Path = Path("config")) -> dict[str, Ablation]:
    """All ablations that are for a suite, by name; files for other suites are left out.

    Raises
    ------
    ConfigError
        With the problems of all files at once.
    """
    file, found, problems = read_suite(suite.name, config_dir / "suites"), {}, []
    for path in ablation_files(config_dir):
        try:
            said = _for_suite(read_yaml(path), file, str(path))
            if said is not None:
                found[path.stem] = _resolve(path.stem, said, str(path), suite, file, config_dir)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    runs = dict(suite.runs)
    for ablation in found.values():
        for variant, run in ablation.runs.items():
            assert runs.setdefault(ablation.trained[variant], run) == run, "two runs of one name"
    return found


def _for_suite(content: dict[str, Any], suite: SuiteFile, path: str) -> dict[str, Any] | None:
    """What a file says for a suite: with its section for it, or for the nearest suite it extends; none: not for it.

    A file without `suites` is for every suite that has its base.
    """
    sections, folder = content.get("suites"), Path(suite.path).parent
    said = {k: v for k, v in content.items() if k != "suites"}
    if "suites" not in content:
        base = said.get("base")
        elsewhere = isinstance(base, str) and base not in suite.merged["experiments"] and _has_base(folder, base)
        return None if elsewhere else said
    if not isinstance(sections, dict) or not sections or not all(isinstance(s, dict) for s in sections.values()):
        raise ConfigError([f"{path}: suites: expected names of suites, each with keys and values, found {sections!r}"])
    if problems := [f"{path}: suites: {unknown}" for name in sections if (unknown := unknown_file(folder, name))]:
        raise ConfigError(problems)
    names = [Path(layer).stem for layer, _ in reversed(suite.layers)]
    name = next((n for n in names if n in sections), None)
    if name is None:
        return None
    merged = deep_merge(said, sections[name])
    for key in ("grid", "variants"):  # what is taken back with null is not there
        if isinstance(merged.get(key), dict):
            merged[key] = {k: v for k, v in merged[key].items() if v is not None}
    return merged


def _has_base(folder: Path, base: str) -> bool:
    """Whether any suite has an experiment of this name."""
    return any(base in read_suite(path.stem, folder).merged["experiments"] for path in sorted(folder.glob("*.yaml")))


def _resolve(name: str, said: dict[str, Any], path: str, suite: Suite, file: SuiteFile, config_dir: Path) -> Ablation:
    head = validate(AblationFile, said, path)
    problems = _wrong_keys(head, path)
    merged = {} if problems else _merged(head, file, path, problems)
    evaluations = {**file.merged["evaluations"], **head.evaluations}
    resolver = Resolver(evaluations, config_dir)
    problems += [f"{path}: evaluations.{p}" for p in resolver.problems]
    of_base: list[str] = []
    for variant, settings in merged.items():
        where = f"{path}: {variant}"
        found = resolver.add(variant, settings, where) or _unknown_start(variant, resolver, suite, where)
        found = [problem.removeprefix(where) for problem in found]
        of_base = of_base or (found if variant == BASE else [])
        problems += [_placed(p, variant, head, path) for p in found if variant == BASE or p not in of_base]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return _compose(name, head, path, suite, resolver)


def _unknown_start(variant: str, resolver: Resolver, suite: Suite, where: str) -> list[str]:
    start = start_of(resolver.runs[variant])
    return [] if start is None or start in suite.runs else [f"{where}: model.init: {unknown_start(start, suite)}"]


def _wrong_keys(head: AblationFile, path: str) -> list[str]:
    """Settings that there are not, wherever they stand."""
    problems = unknown_keys(head.every, DIFFERENCE_KEYS - {"base"}, f"{path}: every")
    for key in head.grid or {}:
        problems += _wrong_grid(key, list(head.grid), f"{path}: grid")
    for variant, difference in (head.variants or {}).items():
        problems += unknown_keys(difference, DIFFERENCE_KEYS, f"{path}: variants.{variant}")
        if not isinstance(difference.get("base", ""), str):
            problems.append(f"{path}: variants.{variant}.base: expected an experiment, found {difference['base']!r}")
    return problems


def _wrong_grid(key: str, keys: list[str], where: str) -> list[str]:
    first, *rest = key.split(".")
    if first in DIFFERENCE_KEYS - RunConfig.model_fields.keys():
        return [f"{where}: {key}: a grid varies settings of runs; use `variants`, which can say `{first}`"]
    if not all(rest):
        return [f"{where}: {key}: expected names with a dot between them, such as train.lr"]
    if within := [other for other in keys if key.startswith(f"{other}.")]:
        return [f"{where}: {key}: lies within {within[0]}, which the grid varies too"]
    return unknown_keys({first: None}, RunConfig.model_fields.keys() - {"experiment", "seed"}, where)


def _merged(head: AblationFile, file: SuiteFile, path: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    """The settings of the base and of each variant."""
    known, found = file.merged["experiments"], {}
    for variant, difference in {BASE: {}, **head.said()}.items():
        base = _base_of(variant, head)
        if base not in known:
            key = f"variants.{variant}.base" if "base" in difference else "base"
            problems.append(f"{path}: {key}: unknown experiment {base!r}. There is: {', '.join(known)}")
            continue
        start = deep_merge(merge_experiment(file, base, path), {"released": None, **head.every})
        found[variant] = deep_merge(start, {k: v for k, v in difference.items() if k != "base"})
    return found


def _base_of(variant: str, head: AblationFile) -> str:
    """The experiment that a variant starts from."""
    return (head.variants or {}).get(variant, {}).get("base", head.base)


def _placed(problem: str, variant: str, head: AblationFile, path: str) -> str:
    """A problem of a variant, under the key of the file that it comes from; that of another file as it is."""
    if not problem.startswith(": "):
        return problem
    # the base is the suite's, in which nothing is wrong
    section = "every" if variant == BASE else f"variants.{variant}" if head.variants else f"grid ({variant})"
    return f"{path}: {section}{problem}"


def _compose(name: str, head: AblationFile, path: str, suite: Suite, resolver: Resolver) -> Ablation:
    """The base stands among the variants: as the one that equals it, else as one more, before them."""
    experiments, runs = dict(resolver.experiments), dict(resolver.runs)
    own = runs[BASE], experiments[BASE].evaluations
    same = [v for v in runs if v != BASE and (runs[v], experiments[v].evaluations) == own]
    base = same[0] if same else BASE
    if same:
        del experiments[BASE], runs[BASE]
    trained = {v: run_name(run, _base_of(v, head), suite) for v, run in runs.items()}
    fields = {"name": name, "title": head.title, "question": head.question, "plot": head.plot, "base": base}
    fields |= {"grid": list(head.grid or {})}
    fields |= {"suite": suite.name, "seeds": head.seeds or suite.seeds, "trained": trained}
    fields |= {"experiments": experiments, "runs": runs, "datasets": resolver.datasets}
    fields["evaluations"] = {n: e for n, e in resolver.evaluations.items() if _is_used(n, experiments)}
    fields["factors"] = {v: differences(runs[base], run) for v, run in runs.items()}
    return validate(Ablation, fields, path)


def _is_used(evaluation: str, experiments: dict) -> bool:
    return any(evaluation in experiment.evaluations for experiment in experiments.values())
