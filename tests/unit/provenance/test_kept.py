"""Digests that are kept on disk are those of the code as it is, whatever happens to the file."""

import json
import subprocess
import sys

import pytest

from elasticast.provenance import PACKAGE, STAGES, code_digest
from elasticast.provenance.kept import kept_digest, kept_file
from elasticast.provenance.source import Source
from elasticast.provenance.stages import WITH_DEFAULTS

FILES = {"a.py": "from elasticast.b import LIMIT\n\n\ndef half():\n    return LIMIT / 2\n", "b.py": "LIMIT = 3\n"}
PARTS = ("a.py", "b.py")


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Folder of all caches of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def package(tmp_path):
    """A small package."""
    for name, text in FILES.items():
        (tmp_path / "package").mkdir(exist_ok=True)
        (tmp_path / "package" / name).write_text(text)
    return tmp_path / "package"


@pytest.fixture
def parsed(monkeypatch):
    """The parts of each digest that is computed."""
    calls, digest = [], Source.digest

    def counting(self, parts):
        calls.append(tuple(parts))
        return digest(self, parts)

    monkeypatch.setattr(Source, "digest", counting)
    return calls


def kept(package, parts=PARTS, **options):
    """The digest that a new process would have."""
    return kept_digest(Source(package, **options), parts)


def test_a_kept_digest_is_the_computed_one_and_is_computed_once(package, parsed):
    expected = Source(package).digest(PARTS)
    parsed.clear()
    assert kept(package) == kept(package) == kept(package, reversed(PARTS)) == expected
    assert parsed == [PARTS]


def test_digests_of_all_stages_are_the_computed_ones():
    sources = {declarations: Source(PACKAGE, declarations) for declarations in (False, True)}
    computed = {stage: sources[stage in WITH_DEFAULTS].digest(parts) for stage, parts in STAGES.items()}
    for _ in range(2):
        assert {s: kept_digest(sources[s in WITH_DEFAULTS], parts) for s, parts in STAGES.items()} == computed
    assert len(json.loads(kept_file(PACKAGE).read_text())["digests"]) == len(STAGES)


def test_new_processes_have_the_kept_digests(caches):
    code = "import elasticast.provenance as p; print(*[p.code_digest(s) for s in ('bench', 'synthesis')])"
    command = [sys.executable, "-c", code]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert outputs[0] == outputs[1] == f"{code_digest('bench')} {code_digest('synthesis')}\n"
    assert kept_file(PACKAGE).parent == caches / "elasticast"


def test_each_choice_of_parts_has_its_own_digest(package):
    for _ in range(2):
        assert kept(package, ["a.py"]) == Source(package).digest(["a.py"])
        assert kept(package, ["b.py"]) == Source(package).digest(["b.py"]) != kept(package, ["a.py"])


@pytest.mark.parametrize("change", ["edit", "move", "new file"])
def test_a_change_of_any_module_computes_digests_again(package, parsed, change):
    before = kept(package)
    parts = PARTS
    if change == "edit":
        (package / "b.py").write_text("LIMIT = 4\n")
    elif change == "move":
        (package / "b.py").rename(package / "c.py")
        (package / "a.py").write_text(FILES["a.py"].replace("elasticast.b", "elasticast.c"))
        parts = ("a.py", "c.py")
    else:
        (package / "c.py").write_text("")
    parsed.clear()
    assert kept(package, parts) == Source(package).digest(parts)
    assert (kept(package, parts) == before) == (change != "edit")
    assert parsed.count(parts) == 2  # one of them by this test


def test_a_module_that_changes_while_digests_are_computed_is_not_mixed_with_its_earlier_version(package):
    source = Source(package)
    (package / "b.py").write_text("LIMIT = 4\n")
    before = kept_digest(source, PARTS)
    assert kept(package) == Source(package).digest(PARTS) != before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: "\0" * len(text),
        lambda text: text.replace('": "', '": "f', 1),
        lambda text: json.dumps({**json.loads(text), "digests": {k: "0" * 16 for k in json.loads(text)["digests"]}}),
    ],
    ids=["empty", "half", "list", "object", "zeros", "a character", "other digests"],
)
def test_a_damaged_file_is_written_again(package, parsed, damage):
    expected = kept(package)
    file = kept_file(package)
    intact = file.read_text()
    file.write_text(damage(intact))
    assert file.read_text() != intact
    assert kept(package) == expected
    assert file.read_text() == intact
    assert len(parsed) == 2


@pytest.mark.parametrize("place", ["a file", "no such user", "no folder"])
def test_without_a_folder_to_write_to_each_process_computes_its_digests(
    package, parsed, caches, monkeypatch, tmp_path, place
):
    if place == "a file":
        caches.write_text("")
    elif place == "no folder":
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/elasticast")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pathlib.Path.home", _no_home)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert kept(package) == kept(package)
    assert len(parsed) == 2
    assert sorted(tmp_path.rglob("*")) == before


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_the_digest_of_a_file_outside_of_the_package_is_not_kept(package):
    script, parts = package.parent / "script.py", ("../script.py", "a.py")
    script.write_text("LIMIT = 3\n")
    before = kept(package, parts)
    script.write_text("LIMIT = 4\n")
    assert kept(package, parts) == Source(package).digest(parts) != before


def test_a_full_disk_is_no_error(package, parsed, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("elasticast.provenance.kept.write_record", full)
    assert kept(package) == kept(package)
    assert len(parsed) == 2


def test_processes_that_write_at_the_same_time_leave_a_file_that_is_valid(package):
    code = (
        "import sys; from pathlib import Path; from elasticast.provenance.kept import kept_digest\n"
        "from elasticast.provenance.source import Source\n"
        "source = Source(Path(sys.argv[1]))\n"
        "print(*[kept_digest(source, [f'b.py:LIMIT', *['a.py'] * i]) for i in range(1, 30)])"
    )
    command = [sys.executable, "-c", code, str(package)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert outputs[0] == outputs[1] != ""
    assert set(json.loads(kept_file(package).read_text())["digests"].values()) == set(outputs[0].split())
