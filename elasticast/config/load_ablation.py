"""Load ablations: variants of one experiment, one YAML file per ablation (``config/ablations/NAME.yaml``).

A file names a `base` experiment of a suite and what is varied, as a `grid` of settings or as named `variants`. Each
variant is resolved like an experiment of the suite. Its training run is stored with the suite's runs and named after
the base and the settings that differ, so that ablations with the same variant train it once. Its evaluation is stored
with the ablation.
"""

from pathlib import Path
from typing import Any

from elasticast.config.ablation import BASE, Ablation, AblationFile
from elasticast.config.ablation_names import differences, point_label, run_name, setting_of
from elasticast.config.ablation_sweeps import comparison_problems
from elasticast.config.load_suite import load_suite, order_problems
from elasticast.config.merging import DIFFERENCE_KEYS, SuiteFile, merge_difference, merge_experiment, read_suite
from elasticast.config.names import name_error, no_such_file
from elasticast.config.reading import deep_merge, read_yaml, unknown_keys, validate
from elasticast.config.resolving import Resolver
from elasticast.config.run import OF_RUN, RunConfig, RunSettings
from elasticast.config.suite import Suite
from elasticast.errors import ConfigError, Problem, distinct


def load_ablation(name: str, suite: str, config_dir: Path = Path("config")) -> Ablation:
    """Read, merge and check an ablation of a suite.

    Raises
    ------
    ConfigError
        If the file has mistakes, or the ablation is for other suites.
    """
    _check_name(config_dir / "ablations", name)
    path = config_dir / "ablations" / f"{name}.yaml"
    content = read_yaml(path)
    loaded, file = load_suite(suite, config_dir), read_suite(suite, config_dir / "suites")
    settings = _settings_for(content, file, str(path))
    if settings is None and "suites" in content:
        message = f"the ablation is not for suite {suite!r}. It is for: {', '.join(content['suites'])}"
        raise ConfigError([Problem(str(path), ("suites",), message)])
    return _resolve(name, content if settings is None else settings, str(path), loaded, file, config_dir)


def load_resolved_ablation(path: Path) -> Ablation:
    """Read `results/SUITE/ablations/NAME/ablation.yaml`: an ablation as it was run."""
    return validate(Ablation, read_yaml(path), str(path))


def ablation_files(config_dir: Path = Path("config")) -> list[Path]:
    """The files of all ablations, without temporary files of editors, whose names begin with a dot."""
    return [p for p in sorted((config_dir / "ablations").glob("*.yaml")) if not p.name.startswith(".")]


def load_ablations(
    suite: Suite, config_dir: Path = Path("config")
) -> tuple[dict[str, Ablation], dict[str, ConfigError]]:
    """Read, merge and check all ablations that are for a suite.

    A mistake in one file does not affect the other ablations.

    Returns
    -------
    ablations : dict of str to Ablation
        By name, without the ablations for other suites.
    broken : dict of str to ConfigError
        Mistakes in files, by the name of the ablation.
    """
    file = read_suite(suite.name, config_dir / "suites")
    ablations: dict[str, Ablation] = {}
    broken: dict[str, ConfigError] = {}
    for path in ablation_files(config_dir):
        try:
            _check_name(path, path.stem)
            settings = _settings_for(read_yaml(path), file, str(path))
            if settings is not None:
                ablations[path.stem] = _resolve(path.stem, settings, str(path), suite, file, config_dir)
        except ConfigError as error:
            broken[path.stem] = error
    return ablations, broken


def _check_name(where: Path, name: str) -> None:
    """Check the name of an ablation; `where` is its file, or the folder if the name may be none of a file."""
    if error := name_error(name, "ablations"):
        raise ConfigError([Problem(str(where), (), error, name)])


def _settings_for(content: dict[str, Any], suite: SuiteFile, path: str) -> dict[str, Any] | None:
    """The settings of an ablation for a suite, or None if the ablation is for other suites.

    The section for the suite, or for the nearest suite that it extends, is merged over the rest of the file. A file
    without `suites` is for every suite that has the base experiment.
    """
    sections, folder = content.get("suites"), Path(suite.path).parent
    settings = {k: v for k, v in content.items() if k != "suites"}
    if "suites" not in content:
        base = settings.get("base")
        for_others = isinstance(base, str) and base not in suite.merged["experiments"] and _has_base(folder, base)
        return None if for_others else settings
    if not isinstance(sections, dict) or not sections or not all(isinstance(s, dict) for s in sections.values()):
        message = "expected one or more names of suites, each with keys and values"
        raise ConfigError([Problem(path, ("suites",), message, sections)])
    unknown = {name: missing for name in sections if (missing := no_such_file(folder, name))}
    if unknown:
        raise ConfigError([Problem(path, ("suites", str(name)), missing) for name, missing in unknown.items()])
    chain = [Path(layer).stem for layer, _ in reversed(suite.layers)]
    name = next((n for n in chain if n in sections), None)
    if name is None:
        return None
    merged = deep_merge(settings, sections[name])
    for key in ("grid", "variants"):  # null removes an entry
        if isinstance(merged.get(key), dict):
            merged[key] = {k: v for k, v in merged[key].items() if v is not None}
    return merged


def _has_base(folder: Path, base: str) -> bool:
    """Whether any suite has an experiment of this name."""
    return any(base in read_suite(path.stem, folder).merged["experiments"] for path in sorted(folder.glob("*.yaml")))


def _resolve(name: str, settings: dict, path: str, suite: Suite, file: SuiteFile, config_dir: Path) -> Ablation:
    head = validate(AblationFile, settings, path)
    problems = _key_problems(head, path)
    merged = {} if problems else _merge_variants(head, suite, file, path, problems)
    resolver = Resolver({**file.merged["evaluations"], **head.evaluations}, config_dir)
    problems += [problem.at(path, "evaluations") for problem in resolver.problems]
    by_variant = {variant: resolver.add(variant, difference) for variant, difference in merged.items()}
    for variant, run in resolver.runs.items():
        others = {name: other for name, other in resolver.runs.items() if name != BASE}
        by_variant[variant] += order_problems(variant, {**others, **suite.runs, variant: run})
    problems += _locate(by_variant, head, path)
    if problems:
        raise ConfigError(distinct(problems))
    return _compose(name, head, path, suite, resolver)


def _key_problems(head: AblationFile, path: str) -> list[Problem]:
    """Problems of unknown keys, and of bases that are no names."""
    problems = unknown_keys(head.every, DIFFERENCE_KEYS - {"base"}, path, "every")
    for key in head.grid or {}:
        problems += _grid_problems(key, list(head.grid), path)
    for variant, difference in (head.variants or {}).items():
        problems += unknown_keys(difference, DIFFERENCE_KEYS, path, "variants", variant)
        if not isinstance(base := difference.get("base", ""), str):
            problems.append(Problem(path, ("variants", variant, "base"), "expected the name of an experiment", base))
    return problems


def _grid_problems(key: str, keys: list[str], path: str) -> list[Problem]:
    """Problems of one setting of a grid."""
    first, *rest = key.split(".")
    settings = RunConfig.model_fields.keys() - {"experiment", "seed"}
    message = None
    if first in DIFFERENCE_KEYS - settings:
        message = f"a grid cannot vary `{first}`; use `variants`"
    elif not all(rest):
        message = "expected names separated by dots, such as train.lr"
    elif parents := [parent for parent in keys if key.startswith(f"{parent}.")]:
        message = f"is part of {parents[0]}, which the grid varies too"
    if message:
        return [Problem(path, ("grid", key), message)]
    return unknown_keys({first: None}, settings, path, "grid")


def _merge_variants(
    head: AblationFile, suite: Suite, file: SuiteFile, path: str, problems: list[Problem]
) -> dict[str, dict[str, Any]]:
    """The settings of the base and of each variant; unknown bases are added to `problems`."""
    known, merged = [name for name in file.merged["experiments"] if name in suite.runs], {}
    for variant, difference in {BASE: {}, **head.differences()}.items():
        base = _base_of(variant, head)
        if base not in known:
            key = ("variants", variant, "base") if "base" in difference else ("base",)
            of_folds = base in file.merged["experiments"]
            message = "is repeated on `folds`; ablations need one without" if of_folds else "no such experiment"
            problems.append(Problem(path, key, f"{message}. Expected one of: {', '.join(known)}", base))
            continue
        start = merge_difference(merge_experiment(file, base), {"released": None, **head.every}, file.folders)
        merged[variant] = merge_difference(start, {k: v for k, v in difference.items() if k != "base"}, file.folders)
    return merged


def _base_of(variant: str, head: AblationFile) -> str:
    """The experiment that a variant starts from."""
    return (head.variants or {}).get(variant, {}).get("base", head.base)


def _locate(by_variant: dict[str, list[Problem]], head: AblationFile, path: str) -> list[Problem]:
    """All problems of variants, each once, at the key of the ablation's file that causes it.

    The suite is valid, so `every` causes the problems of the base.
    """
    variants_with: dict[str, tuple[Problem, list[str]]] = {}
    for variant, problems in by_variant.items():
        for problem in problems:
            variants_with.setdefault(repr(problem), (problem, []))[1].append(variant)
    located = []
    for problem, variants in variants_with.values():
        if BASE in variants:
            located.append(problem if problem.file else problem.at(path, "every"))
        else:
            located += _at_variants(problem, variants, head, path)
    return located


def _at_variants(problem: Problem, variants: list[str], head: AblationFile, path: str) -> list[Problem]:
    """A problem of several variants: at each named variant, or once at the grid."""
    if problem.file:
        return [problem]
    if head.variants:
        return [problem.at(path, "variants", variant) for variant in variants]
    for setting in head.grid:
        parts = tuple(setting.split("."))
        if problem.key[: len(parts)] == parts:
            return [Problem(path, ("grid", setting, *problem.key[len(parts) :]), problem.message, problem.value)]
    points = variants[0] if len(variants) == 1 else f"{variants[0]} and {len(variants) - 1} more"
    return [problem.at(path, f"grid ({points})")]


def _compose(name: str, head: AblationFile, path: str, suite: Suite, resolver: Resolver) -> Ablation:
    """The ablation. Its base is the variant that equals the base experiment, or an additional first variant.

    In a grid, this variant is named by its values of the grid's settings, as the others are.
    """
    experiments, runs = dict(resolver.experiments), dict(resolver.runs)
    of_base = runs[BASE], experiments[BASE].evaluations
    equal = [v for v in runs if v != BASE and (runs[v], experiments[v].evaluations) == of_base]
    base = equal[0] if equal else BASE
    if equal:
        del experiments[BASE], runs[BASE]
    elif head.grid:
        label = point_label(setting_of(runs[BASE], key) for key in head.grid)
        experiments[BASE] = experiments[BASE].model_copy(update={"label": label})
    factors = {v: differences(runs[base], run) for v, run in runs.items()}  # before runs are named after each other
    trained = _name_runs(runs, head, suite)
    fields = {"name": name, "title": head.title, "question": head.question, "plot": head.plot, "base": base}
    fields |= {"grid": list(head.grid or {})}
    fields |= {"suite": suite.name, "seeds": head.seeds or suite.seeds, "trained": trained}
    fields |= {"experiments": experiments, "runs": runs, "datasets": resolver.datasets}
    fields["evaluations"] = {n: e for n, e in resolver.evaluations.items() if _is_used(n, experiments)}
    fields["factors"] = factors
    ablation = validate(Ablation, fields, path)
    if problems := comparison_problems(ablation):
        raise ConfigError(
            distinct(
                located
                for variant, problem in problems
                for located in ([problem.at(path)] if variant is None else _at_variants(problem, [variant], head, path))
            )
        )
    return ablation


def _name_runs(runs: dict[str, RunSettings], head: AblationFile, suite: Suite) -> dict[str, str]:
    """Names of the training runs, by variant. Settings that name a variant name its training run afterwards."""
    trained: dict[str, str] = {}

    def name(variant: str) -> str:
        if variant not in trained:
            for key, other in runs[variant].trained_first.items():
                if other not in suite.runs:
                    runs[variant] = runs[variant].with_source(key, OF_RUN + name(other))
            trained[variant] = run_name(runs[variant], _base_of(variant, head), suite)
        return trained[variant]

    return {variant: name(variant) for variant in runs}


def _is_used(evaluation: str, experiments: dict) -> bool:
    return any(evaluation in experiment.evaluations for experiment in experiments.values())
