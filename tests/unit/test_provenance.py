"""What a result says of its origin, and which edits of the code re-run which stage."""

import ast
import subprocess

import pytest

from elasticast import provenance as module
from elasticast.config.dataset import TWIN_CODE, DatasetConfig
from elasticast.provenance import PACKAGE, STAGES, code_digest, git_commit, provenance, versions

STAGED_FOLDERS = ("data", "models", "training", "evaluation", "reporting")
IN_NO_STAGE = {
    "data/__init__.py": "holds no code",
    "data/download.py": "what it fetches is compared with checksums",
    "data/datasets/__init__.py": "finds the module of a dataset",
    "data/stream.py": "inference on files of no suite",
    "evaluation/__init__.py": "holds no code",
    "reporting/__init__.py": "holds no code",
    "reporting/collect.py": "puts finished tables under one another; no result depends on how",
}

SOURCE = '''"""What it does."""

import math

LIMIT = 3
"""Most of it."""


class Thing:
    """A thing."""

    size: int = 1
    """How large."""

    def area(self, x):
        """Area."""
        # a comment
        return math.pi * x**2  # another


def nothing():
    """Only words."""
'''
HARMLESS = {
    "comments": ("# a comment", "# another comment, longer"),
    "docstring of the module": ("What it does.", "What it really does."),
    "docstring of a class": ("A thing.", "Some thing."),
    "docstring of a function": ('"""Area."""', '"""Area\n\n        of it.\n        """'),
    "docstring of a constant": ("Most of it.", "The most."),
    "docstring of an attribute": ("How large.", "How small."),
    "no docstring at all": ('    """Only words."""', "    pass"),
    "layout": ("math.pi * x**2", "(math.pi\n            * x ** 2)"),
    "blank lines": ("\n\n\n", "\n\n\n\n\n"),
    "quotes": ("import math", "import math\n"),
}
EDITS = {
    "constant": ("LIMIT = 3", "LIMIT = 4"),
    "expression": ("x**2", "x**3"),
    "name": ("def nothing", "def something"),
    "default": ("size: int = 1", "size: int = 2"),
    "import": ("import math", "import cmath as math"),
}


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Digest of a stage whose only module has the given source."""
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    monkeypatch.setattr(module, "STAGES", {"stage": ("folder",), "file": ("folder/thing.py",)})

    def digest(source, stage="stage", name="thing.py"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_text(source)
        return code_digest(stage)

    return digest


@pytest.mark.parametrize("edit", HARMLESS)
@pytest.mark.parametrize("stage", ["stage", "file"])
def test_comments_docstrings_and_layout_are_no_part_of_the_code(digest_of, edit, stage):
    before, after = HARMLESS[edit]
    assert before in SOURCE
    assert digest_of(SOURCE.replace(before, after), stage) == digest_of(SOURCE, stage)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("stage", ["stage", "file"])
def test_an_edit_of_the_code_is(digest_of, edit, stage):
    before, after = EDITS[edit]
    assert before in SOURCE
    assert digest_of(SOURCE.replace(before, after), stage) != digest_of(SOURCE, stage)


def test_a_new_file_is_part_of_a_folder_and_not_of_a_file(digest_of):
    folder, file = digest_of(SOURCE), digest_of(SOURCE, "file")
    digest_of("x = 1\n", name="other.py")
    assert digest_of(SOURCE) != folder
    assert digest_of(SOURCE, "file") == file


def test_strings_that_are_values_stay(digest_of):
    assert digest_of('def f():\n    return "a"\n') != digest_of('def f():\n    return "b"\n')
    assert digest_of('x = "a"\n') != digest_of('x = "b"\n')


def test_every_path_of_every_stage_exists():
    for stage, paths in STAGES.items():
        assert len(set(paths)) == len(paths), stage
        for path in paths:
            assert (PACKAGE / path).exists(), f"{stage}: {path}"


def test_editing_one_dataset_module_prepares_no_other_dataset_anew(digest_of):
    both = {"thing.py": SOURCE, "other.py": "x = 1\n"}
    for name, source in both.items():
        digest_of(source, "file", name)
    before = code_digest("file", "folder/other.py")
    digest_of("x = 2\n", "file", "other.py")
    assert code_digest("file", "folder/other.py") != before != code_digest("file")


def test_every_module_belongs_to_a_stage():
    staged = {
        file.relative_to(PACKAGE).as_posix()
        for paths in (*STAGES.values(), TWIN_CODE)
        for path in paths
        for file in ((PACKAGE / path).rglob("*.py") if (PACKAGE / path).is_dir() else [PACKAGE / path])
    }
    staged |= {f"data/datasets/{option.module}.py" for option in DatasetConfig.__origin__.__args__}
    there = {f.relative_to(PACKAGE).as_posix() for folder in STAGED_FOLDERS for f in (PACKAGE / folder).rglob("*.py")}
    missing = there - staged - set(IN_NO_STAGE)
    assert not missing, f"add to a stage in elasticast/provenance.py, or say in IN_NO_STAGE why not: {sorted(missing)}"
    assert set(IN_NO_STAGE) <= there - staged


def test_files_that_hold_no_code_hold_none():
    for name, reason in IN_NO_STAGE.items():
        if reason == "holds no code":
            assert [type(line) for line in ast.parse((PACKAGE / name).read_text()).body] == [ast.Expr], name


def test_digests_differ_between_stages_and_repeat():
    digests = {stage: code_digest(stage) for stage in STAGES}
    assert len(set(digests.values())) == len(STAGES)
    assert digests == {stage: code_digest(stage) for stage in STAGES}


def test_what_a_result_says():
    found = provenance()
    assert set(found) == {"git_commit", "versions", "machine", "command"}
    assert found["versions"]["torch"] == versions()["torch"] != "not installed"
    assert found["machine"]["cpus"] > 0


def test_the_commit_says_whether_files_differ(tmp_path):
    def git(*command):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *command], check=True, capture_output=True)

    assert git_commit(tmp_path) is None
    git("init")
    (tmp_path / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-m", "first")
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a.txt").write_text("2")
    assert git_commit(tmp_path) == f"{clean}-dirty"
