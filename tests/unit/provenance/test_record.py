"""What a result says of its origin."""

import os
import subprocess

from elasticast.provenance import git_commit, provenance, versions


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
    index = (tmp_path / ".git" / "index").read_bytes()
    os.utime(tmp_path / "a.txt", (1, 1))  # git would update its index
    assert git_commit(tmp_path) == clean
    assert (tmp_path / ".git" / "index").read_bytes() == index, "the index is locked and written"
    (tmp_path / "a.txt").write_text("2")
    assert git_commit(tmp_path) == f"{clean}-dirty"
