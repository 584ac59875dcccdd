"""Every shipped YAML file, changed at random: it loads, or the error names a file of the configuration."""

import copy
import datetime
import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elasticast.config.load_ablation import load_ablation, load_ablations
from elasticast.config.load_suite import load_suite, load_workflow_config
from elasticast.config.reading import read_yaml
from elasticast.config.resolving import load_dataset
from elasticast.errors import ConfigError
from elasticast.plan import Plan
from tests.fuzz import tries

ROOT = Path(__file__).parents[3]
FILES = sorted(path.relative_to(ROOT / "config") for path in (ROOT / "config").rglob("*.yaml"))
TRIES = tries(3)
"""Changes of each file; more with FUZZ_TRIES=1000."""

NUMBERS = [0, -1, 1, 3, 0.5, -0.0, 2**31, 2**63, -(2**63), 10**400, 1e308, 5e-324, float("nan"), float("inf")]
TEXTS = [
    "",
    " ",
    "yes",
    "null",
    "1e-5",
    "0x10",
    "1:30",
    "native",
    "../x",
    "a/b",
    "run:",
    "run:../x",
    "é\n\t",
    "\0",
    "=",
    "{}",
    "%",
]
SYMBOLS = [bytes([symbol]) for symbol in b"\t:-{}[]&*!|>%@`\"'#,?\n "]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from([*TEXTS, "x" * 300, "$(touch pwned)", "`touch pwned`"]),
    st.sampled_from([[], {}, [[]], [{}], [None], {"": None}, {"x": {"x": {}}}, [1, "x", None], [0.5] * 3]),
    st.sampled_from([datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), b"bytes"]),
    st.text(max_size=5),
    st.floats(),
    st.integers(),
)


def places(value, path=()):
    """Paths of keys and indices to every value inside a value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def _at(content, path):
    """The value at a path."""
    for key in path:
        content = content[key]
    return content


def _change(draw, content):
    """Swap, remove, rename, nest or move one value of `content` in place."""
    paths = list(places(content))
    *parents, key = draw(st.sampled_from(paths))
    parent, how = _at(content, parents), draw(st.sampled_from(("swap", "swap", "remove", "rename", "nest", "move")))
    if how == "swap":
        parent[key] = copy.deepcopy(draw(ODD))
    elif how == "move":
        parent[key] = copy.deepcopy(_at(content, draw(st.sampled_from(paths))))
    elif how == "nest":
        for mapping in draw(st.lists(st.booleans(), min_size=1, max_size=50)):
            parent[key] = {"x": parent[key]} if mapping else [parent[key]]
    else:
        value = parent.pop(key)
        if how == "rename" and isinstance(parent, dict):
            parent[draw(st.one_of(st.sampled_from([*TEXTS, 1, None, True, 0.5]), st.text(max_size=3)))] = value


@st.composite
def changed(draw, content):
    """The content with one to three changes, as YAML."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        if content:
            _change(draw, content)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw, text):
    """The bytes of a file with a few of them replaced, removed or added."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        removed = draw(st.integers(0, 3))
        added = draw(st.one_of(st.binary(max_size=3), st.sampled_from(SYMBOLS)))
        text = text[:start] + added + text[start + removed :]
    return text


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A copy of the shipped configuration."""
    folder = tmp_path_factory.mktemp("fuzz") / "config"
    shutil.copytree(ROOT / "config", folder)
    return folder


def load(file, config):
    """Load a file as the workflow does, with all that follows from it."""
    kind, name = file.parent.name, file.stem
    if kind == "suites":
        suite = load_suite(name, config)
        ablations, _ = load_ablations(suite, config)
        plan = Plan(suite, ablations)
        for run in plan.runs:
            json.dumps(plan.run_config(run, suite.seeds[0]).model_dump(mode="json"), allow_nan=False)
            plan.needs(run)
    elif kind == "datasets":
        dataset = load_dataset(config / file)
        assert json.loads(json.dumps(dataset.recipe(), allow_nan=False)) == dataset.recipe()
    elif kind == "ablations":
        suites = read_yaml(config / file).get("suites", {})
        for suite in suites if suites and isinstance(suites, dict) else ["fsdd"]:
            json.dumps(load_ablation(name, suite, config).model_dump(mode="json"), allow_nan=False)
    else:
        load_workflow_config(read_yaml(config / file))


def message_of(file, content, config):
    """Write a file, load it, and write the original back; gives the message of the error and the files it names."""
    path = config / file
    original = path.read_bytes()
    try:
        path.write_bytes(content)
        load(file, config)
    except ConfigError as error:
        return str(error), {problem.file for problem in error.problems}
    finally:
        path.write_bytes(original)
    return None


def loads_or_names_a_file(file, content, config):
    if found := message_of(file, content, config):
        message, files = found
        assert files
        assert all(f == "config/config.yaml" or f.startswith(str(config)) for f in files), message


FUZZ = settings(
    max_examples=TRIES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=TRIES < 100, database=None
)


@pytest.mark.parametrize("file", FILES, ids=str)
@FUZZ
@given(data=st.data())
def test_changed_settings_load_or_name_the_file(config, file, data):
    content = yaml.safe_load((config / file).read_text())
    loads_or_names_a_file(file, data.draw(changed(content)), config)


@pytest.mark.parametrize("file", FILES, ids=str)
@FUZZ
@given(data=st.data())
def test_damaged_files_load_or_name_the_file(config, file, data):
    loads_or_names_a_file(file, data.draw(damaged((config / file).read_bytes())), config)
