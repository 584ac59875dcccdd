"""Whether each stage lists all code that can change its output, and each rule has its stage's digest in params."""

import re
import typing
from collections import Counter
from pathlib import Path

import pytest

from elasticast.config.dataset import DatasetConfig, TwinnedDataset
from elasticast.provenance import ENSEMBLE, PACKAGE, RESPONSES, STAGES, START, TEACHER, training_code
from elasticast.provenance.source import Place, Source

ROOT = Path(__file__).parents[3]
SCRIPTS = "../paper_figures"
ENTRIES = {
    "synthesis": ("data/synthesis.py:audio_folder",),
    "decode": ("data/parts.py:decode_parts",),
    "prepare": ("cli/__init__.py:prepare",),
    "stats": ("cli/__init__.py:stats",),
    "train": ("cli/__init__.py:train",),
    "select": ("cli/__init__.py:train",),
    "evaluate": ("cli/__init__.py:evaluate",),
    "released": ("cli/__init__.py:evaluate",),
    "intervals": ("cli/__init__.py:resample", "cli/__init__.py:intervals"),
    "collect": ("cli/__init__.py:collect",),
    "curves": tuple(f"{SCRIPTS}/{name}.py" for name in ("fig1_teaser", "fig4_length_curves", "fig5_resolution_curves")),
    "patches": (f"{SCRIPTS}/patch_sizes.py",),
    "table": (f"{SCRIPTS}/table1.py",),
    "zoo": (f"{SCRIPTS}/zoo.py",),
    "verdict": (f"{SCRIPTS}/verdict.py",),
    "overview": (f"{SCRIPTS}/overview.py",),
    "ablation": (f"{SCRIPTS}/ablation.py",),
    "redraw_ablation": ("published/ablation_figure.py:redraw_ablation",),
    "learning": (f"{SCRIPTS}/learning_curves.py",),
    "lengths": (f"{SCRIPTS}/fig2_native_lengths.py",),
    "audit": ("audit/run.py:audit", "audit/clips.py"),
    "packing": (f"{SCRIPTS}/fig3_packing.py",),
    "bench": ("reporting/bench_figure.py",),
}
"""What each stage starts with: a verb of the command, a function, or a script, which is an input of its rule."""
NEVER = {
    "checksums.py": "stops a job whose inputs were changed",
    "cli/audit.py": "gives params to the stage audit",
    "cli/bench.py": "measures speed and memory, for no stage",
    "cli/finished.py": "publishes, archives and checks results, for no stage",
    "cli/listen.py": "listens for people, for no stage",
    "cli/options.py": "declares options that rules give",
    "cli/predict.py": "classifies files for people, for no stage",
    "cli/sweep.py": "evaluates for people, for no stage",
    "cli/tune_events.py": "chooses post-processing for people, for no stage",
    "config/deciding.py": "says what runs again, not what comes of it",
    "config/load_ablation.py": "makes settings of files; the rules have them in params",
    "config/load_suite.py": "makes settings of files; the rules have them in params",
    "config/model/own_code.py": "runs a file of the user, whose SHA-256 is in the settings",
    "config/names.py": "refuses names",
    "config/reading.py": "makes settings of files; the rules have them in params",
    "config/resolving.py": "makes settings of files; the rules have them in params",
    "data/prepared.py": "stops a job whose inputs were changed; reads a table as it is",
    "data/download.py": "compares what it fetches with checksums",
    "errors.py": "stops a job",
    "evaluation/records.py": "compares results with their records; writes a table as it is given",
    "faults.py": "explains why a job stopped",
    "files.py": "writes a file whole or not at all, as it is given",
    "hdf5.py": "writes a file whole or not at all, as it is given",
    "inference/stream.py": "classifies live audio for people, for no stage",
    "models/weights/hub.py": "fetches weights, of which results record the checksum",
    "models/trained.py": "refuses weights that are not finite",
    "progress.py": "tells of a job that runs",
    "provenance/record.py": "says where a result comes from, beside it",
    "provenance/stages.py": "computes these digests, which change with it",
    "training/energy.py": "measures the energy of a run, beside it",
    "training/finite.py": "stops a run that diverges",
    "reporting/check_tables.py": "stops a job",
    "reporting/data_overview.py": "draws what was prepared; no stage reads it",
    "training/history.py": "tells of a run that trains",
}
"""Modules that no stage lists though it imports them: why they cannot change a number."""
UNUSED = {
    "synthesis": {
        "data/annotations.py": "reading what was generated is part of prepare",
        "data/event_lists.py": "reading what was generated is part of prepare",
        "data/labels.py": "reading what was generated is part of prepare",
        "data/lookup.py": "reading what was generated is part of prepare",
    },
    "decode": {"config/dataset/common.py": "a part's name has the two settings that decoding reads"},
    "prepare": {"data/twins/__init__.py": "a twin adds it in its code()"},
    "train": {
        "models/pretrained.py": "runs with model.init add START, those with train.distill TEACHER",
        "training/teacher.py": "runs with train.distill add TEACHER",
        "training/ensemble.py": "runs with train.ensemble add ENSEMBLE",
        "data/responses.py": "runs with train.impulse_responses add RESPONSES",
        "training/selection.py": "runs with train.select have the stage select",
    },
    "select": {
        "models/pretrained.py": "runs with model.init add START, those with train.distill TEACHER",
        "training/teacher.py": "runs with train.distill add TEACHER",
        "training/ensemble.py": "runs with train.ensemble add ENSEMBLE",
        "data/responses.py": "runs with train.impulse_responses add RESPONSES",
    },
    "evaluate": {
        "models/weights/convert.py": "a run's own weights are not converted; published ones have the stage released",
        "models/weights/layouts.py": "a run's own weights are not converted; published ones have the stage released",
    },
}
"""By stage, modules that it imports and does not use."""


def place_of(dataset):
    """Where the class of a dataset's settings is."""
    return Place(f"{dataset.__module__.partition('.')[2].replace('.', '/')}.py", dataset.__name__)


DATASETS = typing.get_args(typing.get_args(DatasetConfig)[0])
BY_DATASET = ("synthesis", "decode", "prepare")
"""Stages that run once per dataset. Each dataset adds its own code, see `DatasetSettings.code`."""
OTHER_DATASETS = {place_of(d) for d in DATASETS} | {Place("config/dataset/__init__.py", "DatasetConfig")}
NO_CODE = {
    "archive": "has the commit, which decides what it holds",
    "bench_table": "measures the machine, which an edit does not change",
    "configure": "writes its params",
    "configure_sweeps": "writes its params",
    "resolved_suite": "writes settings of which it has the digest",
    "resolved_ablation": "writes settings of which it has the digest",
    "decoded": "writes an empty file",
    "redraw_record": "writes checksums of files, which are its inputs",
}
"""Rules without a digest of code in params: why."""


def reached(source, selected, entries, skipped):
    """Places that entries come to by imports, through the selected statements; and those of them not selected."""
    todo, seen, missing = (
        [Place(path, name or None) for path, _, name in (e.partition(":") for e in entries)],
        set(),
        set(),
    )
    while todo:
        place = todo.pop()
        if place in seen or {place, place.path} & skipped:
            continue
        seen.add(place)
        module = source.module(place.path)
        asked = module.statements if place.name is None else module.defining(place.name)
        some = selected.get(place.path, asked if place.path.startswith("..") else [])
        if any(statement.text and statement not in some for statement in asked):
            missing.add(place)
        for statement in some if any(statement.text for statement in asked) else asked:
            found = (source.resolve(place.path, mention) for mention in statement.mentions)
            todo += [place for place in found if isinstance(place, Place)]
    return seen, missing


def cases():
    """Stage, what it lists, its entries, and modules that are not followed."""
    for stage, parts in STAGES.items():
        skipped = {*NEVER, *UNUSED.get(stage, ())}
        if stage not in BY_DATASET:
            yield stage, parts, ENTRIES[stage], skipped
        if stage in ("train", "select"):
            yield (
                f"{stage} of a run with model.init",
                (*parts, *START),
                ENTRIES[stage],
                skipped - {"models/pretrained.py"},
            )
            yield (
                f"{stage} of a run with train.distill",
                (*parts, *TEACHER),
                ENTRIES[stage],
                skipped - {"models/pretrained.py", "training/teacher.py"},
            )
            yield (
                f"{stage} of a run with train.ensemble",
                (*parts, *ENSEMBLE),
                ENTRIES[stage],
                skipped - {"models/pretrained.py", "training/teacher.py", "training/ensemble.py"},
            )
            yield (
                f"{stage} of a run with train.impulse_responses",
                (*parts, *RESPONSES),
                ENTRIES[stage],
                skipped - {"data/responses.py"},
            )


def dataset_cases():
    for dataset in DATASETS:
        for twin in (False, True)[: 1 + issubclass(dataset, TwinnedDataset)]:
            settings = dataset.model_construct(twin="set" if twin else None)
            modules = [f"data/datasets/{dataset.module}.py"]
            modules += ["data/twins/__init__.py", f"data/twins/{dataset.module}.py"] * twin
            own = {place_of(dataset), *modules}
            for stage in ("prepare", "synthesis")[: 1 + (twin or dataset.generated)]:
                skipped = ({*NEVER, *UNUSED[stage], *OTHER_DATASETS}) - own
                skipped |= set() if twin or dataset.generated else {"data/synthesis.py"}
                name = f"{stage} of {dataset.__name__}{', twin' * twin}"
                yield name, (*STAGES[stage], *settings.code()), (*ENTRIES[stage], *modules), skipped
    yield "decode", STAGES["decode"], ENTRIES["decode"], {*NEVER, *UNUSED["decode"], *OTHER_DATASETS}


@pytest.fixture(scope="module")
def source():
    return Source(PACKAGE)


@pytest.mark.parametrize("case", [*cases(), *dataset_cases()], ids=lambda case: case[0])
def test_a_stage_lists_all_that_it_imports(source, case):
    stage, parts, entries, skipped = case
    _, missing = reached(source, source.select(parts), entries, skipped)
    listed = sorted(f"{path}:{name}" if name else path for path, name in missing)
    assert not listed, f"elasticast/provenance/stages.py: add to {stage}, or to NEVER here: {', '.join(listed)}"


def test_a_stage_lists_nothing_else(source):
    used, listed = {}, {}
    for name, parts, entries, skipped in [*cases(), *dataset_cases()]:
        stage, selected = name.split()[0], source.select(parts)
        seen, _ = reached(source, selected, entries, skipped)
        used.setdefault(stage, set()).update(seen)
        listed.setdefault(stage, set()).update(part for part in STAGES[stage])
    dead = []
    for stage, parts in listed.items():
        for path, _, names in (part.partition(":") for part in parts):
            places = {place for place in used[stage] if f"{place.path}/".startswith(f"{path}/")}
            dead += [f"{stage}: {path}"] if not places else []
            dead += [
                f"{stage}: {path}:{name}" for name in filter(None, names.split(",")) if Place(path, name) not in places
            ]
    assert not dead, f"elasticast/provenance/stages.py: not imported: {', '.join(sorted(dead))}"


def test_tables_of_exceptions_name_what_is_imported(source):
    seen = {stage: set() for stage in STAGES}
    for name, parts, entries, skipped in [*cases(), *dataset_cases()]:
        skipped = {place for place in skipped if isinstance(place, Place)}
        seen[name.split()[0]] |= {place.path for place in reached(source, source.select(parts), entries, skipped)[0]}
    assert set(NEVER) <= set().union(*seen.values())
    assert all(set(modules) <= seen[stage] for stage, modules in UNUSED.items())
    listed = {
        path for parts in (*STAGES.values(), START, TEACHER, ENSEMBLE, RESPONSES) for path in source.select(parts)
    }
    assert not listed & set(NEVER)


def test_a_package_does_nothing_when_it_is_imported(source):
    """Which it is with each of its modules, though no stage lists it."""
    for path in (file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("__init__.py")):
        assert not [
            statement.text for statement in source.module(path).statements if statement.effect
        ] or path.startswith("cli/")


def test_classes_of_settings_share_their_names_with_no_other():
    """`Source` recognises settings classes by their names."""
    classes = Counter(
        name for file in PACKAGE.rglob("*.py") for name in re.findall(r"^class (\w+)", file.read_text(), re.M)
    )
    settings = Source(PACKAGE)._settings
    assert {"RunConfig", "Suite", "DatasetSettings"} <= settings
    assert {name for name in settings if classes[name] > 1} == set()


def test_selection_and_starting_weights_add_to_the_code_of_a_run(tiny):
    settings = {
        "plain": tiny(),
        "select": tiny(train={"select": {"split": "test"}}),
        "init": tiny(model={"init": "weights.pth"}),
        "both": tiny(model={"init": "weights.pth"}, train={"select": {"split": "test"}}),
        "distill": tiny(train={"distill": {"teacher": "weights.pth", "weight": 0.5}}),
    }
    assert len({training_code(run) for run in settings.values()}) == len(settings)
    assert training_code(settings["plain"]) == training_code(tiny(seed=1, train={"lr": 0.5}))


def test_each_rule_that_runs_code_has_a_digest_of_it():
    without = set()
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=rule |use rule )", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
            name = re.match(r"rule (\w+)|use rule \w+ as (\w+)", block)
            runs = "\n    shell:" in block or (name[2] and "\n    params:" in block)
            if runs and not re.search(r"^        code=", block, flags=re.M):
                without.add(name[1] or name[2])
    assert without == set(NO_CODE)
