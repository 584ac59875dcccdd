"""The text of a commented dataset file and of a commented suite."""

from collections import Counter
from typing import Any

import yaml

from elasticast.config.dataset import SPLITS
from elasticast.new_suite.size import EPOCHS, FEWEST_STEPS, SuitePlan
from elasticast.new_suite.survey import Survey
from elasticast.text import one_line

_MOST_NAMED = 8


def dataset_text(survey: Survey, name: str) -> str:
    """The text of ``config/datasets/NAME.yaml``."""
    settings, lines = survey.settings, []
    lines += [f"# {name}: your own recordings. docs/your_data.md explains this file, config/README.md every key."]
    lines += [f"# {_counts(survey)}", f"# Sample rates: {_rates(survey)}; stored at 16 kHz, mono."]
    for key in ("source", "folder", "table"):
        lines += [f"{key}: {_yaml(settings[key])}"] if key in settings else []
    if "columns" in settings:
        lines += [
            "# Columns of the table. Others that may be named here: id, start, end, split, fold, group (speaker)."
        ]
        lines += ["columns:", *(f"  {use}: {_yaml(column)}" for use, column in settings["columns"].items())]
    if "labels" in settings:
        lines += [
            "# The tasks. kind: single (one label per clip) or multi (any number). classes: a list or a text file"
        ]
        lines += ["# of class names makes every other label an error; without it, all labels are classes."]
        lines += ["labels:"]
        for task, labels in settings["labels"].items():
            lines += [f"  # {_classes(survey, task)}", f"  {task}: {_yaml(labels)}"]
    else:
        lines += [f"# One label per clip, the folder: {_classes(survey, survey.config.task)}"]
        lines += [f"task: {_yaml(survey.config.task)}"]
    return "\n".join([*lines, *_splits(survey), *_checks(survey)]) + "\n"


def _splits(survey: Survey) -> list[str]:
    settings = survey.settings
    if "all_test" in settings:
        return ["# All clips are for evaluating trained models, none for training.", "all_test: true"]
    if survey.drawn:
        return [
            "# The splits are drawn: a hash of the group (speaker) or of the id gives the fold of a clip.",
            "# Fold test_fold is the test split; the others are for training. Another split_seed draws other folds.",
            *(f"{key}: {_yaml(settings[key])}" for key in ("folds", "test_fold", "split_seed")),
        ]
    if "split_values" in settings:
        return ["# Names of the splits.", f"split_values: {_yaml(settings['split_values'])}"]
    if "test_fold" in settings:
        return [
            "# The test split is this fold; the others are for training.",
            f"test_fold: {_yaml(settings['test_fold'])}",
        ]
    return []


def _checks(survey: Survey) -> list[str]:
    reasons = Counter(survey.unusable)
    text = ", ".join(f"{count} × {one_line(reason)}" for reason, count in reasons.most_common(3))
    seen = f" Seen so far: {text}." if reasons else ""
    return [
        f"# Share of clips that may be unusable (missing, damaged, silent) before `prepare` stops.{seen}",
        "max_rejected: 0.0",
        "# The same audio in two splits makes scores too high.",
        "allow_leakage: false",
    ]


def _counts(survey: Survey) -> str:
    clips = survey.clips
    splits = ", ".join(f"{n:,} {split}" for split in SPLITS if (n := int((clips["split"] == split).sum())))
    seconds = clips["duration"].dropna()
    quartiles = ", ".join(f"{value:.1f}" for value in seconds.quantile([0.25, 0.5, 0.75]))
    return f"{len(clips):,} clips ({splits}) of {seconds.min():.1f}-{seconds.max():.1f} s, quartiles {quartiles} s."


def _rates(survey: Survey) -> str:
    return ", ".join(f"{rate:,} Hz ({count:,} files)" for rate, count in survey.rates.items()) or "unknown"


def _classes(survey: Survey, task: str) -> str:
    names = survey.classes[task]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{len(names)} classes: {one_line(', '.join(map(repr, names[:_MOST_NAMED])))}{more}"


# ---------------------------------------------------------------------------------------------
# Suite
# ---------------------------------------------------------------------------------------------


def suite_text(survey: Survey, plan: SuitePlan, name: str) -> str:
    """The text of ``config/suites/NAME.yaml``."""
    experiments = [line for task in survey.classes for line in _experiments(survey, plan, task)]
    return "\n".join([*_head(survey, plan, name), *experiments, "", *_evaluations(plan)]) + "\n"


def _head(survey: Survey, plan: SuitePlan, name: str) -> list[str]:
    train = {"steps": plan.steps, "batch": {"clips": plan.batch}, "optimizer": "adamw", "lr": plan.size.lr}
    train |= {"weight_decay": 0.05, "warmup_steps": plan.steps // 10, "schedule": {"kind": "cosine"}}
    train |= {"precision": plan.precision, "workers": plan.machine.workers}
    cut = float((survey.clips["duration"] > plan.longest / 100).sum() / survey.clips["duration"].notna().sum())
    return [
        "# ElasticAST at native length, AST at the quartiles of length, and AST on batches of clips of similar length.",
        f"# Sized for {plan.machine}: about {_minutes(plan.minutes)} of training. Command:  make run SUITE={name}",
        f"title: {_yaml(f'ElasticAST on {name}')}",
        "seeds: [0]                  # [0, 1, 2] trains every model three times and adds the spread over seeds",
        "",
        "defaults:",
        f"  dataset: {_yaml(name)}",
        f"  task: {_yaml(next(iter(survey.classes)))}",
        "  evaluations: [length]",
        f"  # 100 frames are 1 s{f'; {cut:.1%} of the clips are longer and are cut' if cut else ''}",
        f"  view: {{frames: native, max_frames: {plan.longest}}}",
        f"  model: {_yaml(plan.size.model)}",
        f"  # {EPOCHS} epochs if there is time, at least {FEWEST_STEPS} steps; more help until scores stop rising",
        "  train:",
        *(f"    {key}: {_yaml(value)}" for key, value in train.items()),
        "",
        "experiments:",
    ]


def _experiments(survey: Survey, plan: SuitePlan, task: str) -> list[str]:
    loss = "ce" if survey.config.tasks[task] == "single" else "bce"
    common = f"    task: {_yaml(task)}\n    train: {{loss: {loss}}}"
    elastic = f"{{kind: elasticast, max_frames: {plan.longest}}}"
    lines = [f"  {task}_elastic:", "    label: ElasticAST", common, f"    model: {elastic}"]
    for frames in plan.quartiles:
        lines += [f"  {task}_ast{frames}:", f"    label: AST {frames}", common, "    model: {kind: ast}"]
        lines += [
            f"    view: {{frames: {frames}}}          # {frames / 100:g} s: longer clips are cut, shorter ones padded"
        ]
    buckets = common.replace("}", ", batch: {buckets: true}}")
    lines += [f"  {task}_ast_buckets:", "    label: AST, buckets", buckets, "    model: {kind: ast}"]
    return lines


def _evaluations(plan: SuitePlan) -> list[str]:
    return [
        "evaluations:",
        "  length:                     # figure 4: the first x frames of each test clip",
        "    x_name: max_frames",
        f"    x: {_yaml(plan.sweep)}",
    ]


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


def _yaml(value: Any) -> str:
    """A value on one line, as in a YAML file."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
