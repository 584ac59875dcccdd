"""Ablations: one model varied in one respect, one YAML file each (``config/ablations/NAME.yaml``).

A file names a `base` experiment of a suite and what is varied, as a `grid` of settings or as named `variants`. Each
variant is resolved like an experiment of the suite: its training run lies among the suite's, named after the base and
what differs from it, so that what several ablations of one base share is trained once; its evaluation belongs to the
ablation. Nothing here imports torch or pandas: every ``snakemake -n`` reads it.
"""

import re
from pathlib import Path
from typing import Any

from elasticast.config.ablation import BASE, Ablation, AblationFile
from elasticast.config.ablation_names import NAME, differences, run_name
from elasticast.config.ablation_sweeps import comparison_problems
from elasticast.config.load_suite import Resolver, load_suite, unknown_start
from elasticast.config.merging import DIFFERENCE_KEYS, SuiteFile, merge_experiment, read_suite, unknown_file
from elasticast.config.reading import deep_merge, read_yaml, unknown_keys, validate
from elasticast.config.run import RunConfig
from elasticast.config.suite import Suite
from elasticast.errors import ConfigError


def load_ablation(name: str, suite: str, config_dir: Path = Path("config")) -> Ablation:
    """Read, merge and check an ablation of a suite.

    Raises
    ------
    ConfigError
        If anything in it is wrong, or it is not for this suite.
    """
    path = config_dir / "ablations" / f"{name}.yaml"
    _check_name(path)
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
    """The files of all ablations; those that begin with a dot are an editor's."""
    return [p for p in sorted((config_dir / "ablations").glob("*.yaml")) if not p.name.startswith(".")]


def _check_name(path: Path) -> None:
    """Refuse a name that cannot be a target's: `NAME_table` is what the table of `NAME` is called."""
    if not re.fullmatch(NAME, path.stem) or path.stem.endswith("_table"):
        expected = "expected letters, digits, _ and -, beginning with no -, and not ending in _table"
        raise ConfigError([f"{path}: name of an ablation: {expected}"])


def load_ablations(
    suite: Suite, config_dir: Path = Path("config")
) -> tuple[dict[str, Ablation], dict[str, ConfigError]]:
    """All ablations of a suite; files for other suites are left out.

    Returns
    -------
    ablations : dict of str to Ablation
        The valid ablations, by name.
    errors : dict of str to ConfigError
        What is wrong with each other file, by name.
    """
    file, ablations, errors = read_suite(suite.name, config_dir / "suites"), {}, {}
    for path in ablation_files(config_dir):
        try:
            _check_name(path)
            said = _for_suite(read_yaml(path), file, str(path))
            if said is not None:
                ablations[path.stem] = _resolve(path.stem, said, str(path), suite, file, config_dir)
        except ConfigError as error:
            errors[path.stem] = error
    return ablations, errors


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
    start = resolver.runs[variant].starts_from
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
    ablation = validate(Ablation, fields, path)
    if problems := comparison_problems(ablation):
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return ablation


def _is_used(evaluation: str, experiments: dict) -> bool:
    return any(evaluation in experiment.evaluations for experiment in experiments.values())
