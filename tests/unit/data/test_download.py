import errno
import gzip
import hashlib
import io
import os
import random
import signal
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from elasticast.config.dataset import FsddDigits
from elasticast.data import unpack
from elasticast.data.datasets import esc50, fsdd, speech_commands
from elasticast.data.download import Archive, ArchiveFile, compare_sums, download, fetch_archive
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import complains

DIGITS = FsddDigits(source="fsdd_digits")


@pytest.fixture
def archive(published):
    """An archive in GitHub's layout, with additional files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        contents = {f"free-x-1.0/recordings/{name}": content for name, content in published.items()}
        contents |= {"free-x-1.0/README.md": b"x", "free-x-1.0/recordings/9_eve_0.wav": b"not of the dataset"}
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serve `content` and record the requested ranges. Once `go_on` is set, stop every response after `limit` bytes.

    Files whose names are in `contents` have another content.
    """

    content, limit, ranges_known, with_length = b"", None, True, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.contents: dict[str, bytes] = {}
        self.sent, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        content = server.contents.get(self.path.partition("?")[0].lstrip("/"), server.content)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges_known else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.with_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.limit])
        server.sent.set()
        server.go_on.wait(60)

    def log_message(self, *_):
        pass


@contextmanager
def serving(content, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        server.content = content
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def server(archive, monkeypatch):
    with serving(archive, monkeypatch) as server:
        monkeypatch.setattr(fsdd, "URL", server.url)
        yield server


# ---------------------------------------------------------------------------------------------
# The recordings of digits
# ---------------------------------------------------------------------------------------------


def recordings_in(root):
    return {path.name: path.read_bytes() for path in (root / "fsdd" / "recordings").iterdir()}


def test_missing_recordings_are_downloaded_once(server, sums, published, tmp_path):
    root = tmp_path / "fresh"
    fsdd.fetch(DIGITS, root, tmp_path / "out")
    assert recordings_in(root) == published
    assert {path.name for path in (root / "fsdd").iterdir()} == {"recordings", ".recordings.lock"}
    fsdd.fetch(DIGITS, root, tmp_path / "out")
    assert server.asked == [None]


def test_several_at_once_download_once(server, sums, published, tmp_path):
    threads = [threading.Thread(target=fsdd.ensure_recordings, args=(tmp_path / "fresh",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recordings_in(tmp_path / "fresh") == published
    assert len(server.asked) == 1


def test_damaged_archive_is_removed_and_reported(server, sums, published, tmp_path):
    whole = server.content
    for content in (whole[:2000] + b"\0" * 50 + whole[2050:], whole[:-3000], b"<html>no such release</html>"):
        server.content = content
        with complains(DataError, server.url):
            fsdd.ensure_recordings(tmp_path / "fresh")
        assert not (tmp_path / "fresh" / "fsdd" / "recordings").exists()
    server.content = whole
    fsdd.ensure_recordings(tmp_path / "fresh")
    assert recordings_in(tmp_path / "fresh") == published


def test_a_corrupted_recording_in_the_archive_is_rejected(server, sums, published, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in published.items():
            member = tarfile.TarInfo(f"x/recordings/{name}")
            content = content[:-2] + b"\1\1" if name == "5_ada_5.wav" else content
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    server.content = buffer.getvalue()
    with complains(DataError, 1, 140, "fsdd.sha256", tmp_path / "digits" / "rejected.csv"):
        prepare(DIGITS, tmp_path / "fresh", tmp_path / "digits")
    assert pd.read_csv(tmp_path / "digits" / "rejected.csv")["id"].tolist() == ["5_ada_5"]


def test_missing_and_offline_gives_one_error_with_remedies(sums, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fsdd, "URL", "http://127.0.0.1:9/nothing.tar.gz")
    named = (tmp_path / "nowhere/fsdd/recordings", "data_root", "config/config.yaml", "--config data_root=", 140)
    named += ("fsdd/recordings/{digit}_{speaker}_{index}.wav", "http://127.0.0.1:9")
    for call in (fsdd.fetch, fsdd.annotate):
        with complains(DataError, *named):
            call(DIGITS, tmp_path / "nowhere", tmp_path / "out")


def test_a_refused_download_is_the_same_error(server, sums, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(404))
    with complains(DataError, server.url, 404):
        fsdd.ensure_recordings(tmp_path / "fresh")


# ---------------------------------------------------------------------------------------------
# Downloads
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_length", [True, False])
def test_a_download_without_a_length(server, tmp_path, with_length):
    server.with_length = with_length
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


def test_interrupted_download_resumes(server, tmp_path):
    server.limit = len(server.content) // 3
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.asked == [None, *(f"bytes={k * server.limit}-" for k in (1, 2, 3))]


def test_download_resumes_from_an_earlier_call(server, tmp_path):
    (tmp_path / "file.part").write_bytes(server.content[:1000])
    download(server.url, tmp_path / "file")
    assert server.asked == ["bytes=1000-"]
    assert (tmp_path / "file").read_bytes() == server.content
    assert not (tmp_path / "file.part").exists()


def test_server_without_ranges_restarts_the_download(server, tmp_path):
    server.ranges_known = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


@pytest.mark.parametrize("extra", [0, 50])
def test_part_as_long_as_the_file_or_longer_restarts_the_download(server, tmp_path, extra):
    (tmp_path / "file.part").write_bytes(b"x" * (len(server.content) + extra))
    download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == server.content


def test_a_server_that_sends_nothing_more_is_an_error_and_the_part_stays(server, tmp_path):
    (tmp_path / "file.part").write_bytes(server.content[:1000])
    server.limit = 0
    with complains(DataError, server.url):
        download(server.url, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == server.content[:1000]


def test_a_size_given_is_only_for_the_progress(server, tmp_path):
    server.with_length = False
    download(server.url, tmp_path / "file", size=1)
    assert (tmp_path / "file").read_bytes() == server.content


# ---------------------------------------------------------------------------------------------
# Any archive
# ---------------------------------------------------------------------------------------------

FILES = {"audio/a.wav": b"a" * 5000, "audio/b.wav": random.Random(0).randbytes(3 << 20), "meta/list.csv": b"a\nb\n"}
SPECIAL = {
    "link": (tarfile.SYMTYPE, stat.S_IFLNK),
    "hard": (tarfile.LNKTYPE, None),
    "device": (tarfile.CHRTYPE, stat.S_IFCHR),
    "fifo": (tarfile.FIFOTYPE, stat.S_IFIFO),
    "folder": (tarfile.DIRTYPE, stat.S_IFDIR),
}
OUTSIDE = ("../outside.wav", "audio/../../outside.wav", "/tmp/elasticast-outside.wav", "./../outside.wav")


def pack_tar(files, special=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in special:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = SPECIAL[name][0], "/etc/passwd"
            tar.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pack_zip(files, special=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in special:
            if SPECIAL[name][1]:
                member = zipfile.ZipInfo(name)
                member.external_attr = (SPECIAL[name][1] | 0o777) << 16
                packed.writestr(member, "/etc/passwd")
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


PACK = {".zip": pack_zip, ".tar.gz": pack_tar}
both = pytest.mark.parametrize("suffix", PACK)


@pytest.fixture
def serve(monkeypatch):
    with serving(b"", monkeypatch) as server:
        yield server


def archive_of(server, suffix, checksum="", **others):
    return Archive((ArchiveFile(server.url, f"data{suffix}", checksum),), str, "data/audio/*.wav", **others)


def sums_of(files, path):
    path.write_text("".join(f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in files.items()))
    return path


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@both
def test_an_archive_is_unpacked_once_and_removed(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES)
    archive = archive_of(serve, suffix, f"sha256:{hashlib.sha256(serve.content).hexdigest()}")
    for _ in range(2):
        fetch_archive(archive, tmp_path / "new" / "data")
    assert files_in(tmp_path / "new" / "data") == FILES
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"data", ".data.lock"}
    assert len(serve.asked) == 1


@both
def test_a_folder_with_anything_in_it_is_left_alone(serve, suffix, tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert not serve.asked


@both
def test_an_empty_folder_is_filled(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES)
    (tmp_path / "data").mkdir()
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert files_in(tmp_path / "data") == FILES


@both
def test_an_archive_put_there_by_hand_is_used(serve, suffix, tmp_path):
    (tmp_path / f"data{suffix}").write_bytes(PACK[suffix](FILES))
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert files_in(tmp_path / "data") == FILES
    assert not serve.asked


def refused(serve, suffix, tmp_path, content, *named, **others):
    """The archive is refused with an error that names it and the entry, and nothing of it stays."""
    serve.content = content
    root = tmp_path / "a" / "b" / "c"
    with complains(DataError, f"data{suffix}", serve.url, *named):
        fetch_archive(archive_of(serve, suffix, **others), root / "data")
    assert {path.name for path in root.iterdir()} == {".data.lock"}
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink() or path.suffix == ".wav"]


@both
@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_archive_with_a_path_outside_is_refused(serve, suffix, tmp_path, outside):
    refused(serve, suffix, tmp_path, PACK[suffix](FILES | {outside: b"x"}), repr(outside))
    assert not os.path.lexists(OUTSIDE[2])


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".tar.gz", kind) for kind in ("link", "hard", "device", "fifo")]
    + [(".zip", kind) for kind in ("link", "device", "fifo")],
)
def test_an_archive_with_a_link_or_a_device_is_refused(serve, suffix, tmp_path, kind):
    refused(serve, suffix, tmp_path, PACK[suffix](FILES, special=[kind]), repr(kind))


@both
def test_a_link_that_is_not_wanted_is_left_out(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES, special=["link", "folder"])
    archive = archive_of(serve, suffix)._replace(wanted=lambda path: str(path) if path.suffix else None)
    fetch_archive(archive, tmp_path / "data")
    assert files_in(tmp_path / "data") == FILES


@both
@pytest.mark.parametrize(
    "other",
    ["./audio/a.wav", "audio//a.wav", "Audio/A.WAV", "audio/a.wav/b.wav", "AUDIO", "caf\u0065\u0301.wav"],
)
def test_two_entries_with_the_same_path_are_refused(serve, suffix, tmp_path, other):
    files = {"caf\u00e9.wav": b"x"} | FILES | {other: b"other"}
    refused(serve, suffix, tmp_path, PACK[suffix](files), repr(other))


@both
def test_a_name_that_is_too_long_is_refused(serve, suffix, tmp_path):
    refused(serve, suffix, tmp_path, PACK[suffix](FILES | {"é" * 128: b"x"}), 255)


@both
def test_an_archive_that_unpacks_to_much_more_than_itself_is_refused(serve, suffix, tmp_path):
    content = PACK[suffix]({"zeros.raw": bytes(70 << 20)})
    assert len(content) < 100_000
    refused(serve, suffix, tmp_path, content, "'zeros.raw'")


@both
def test_many_small_entries_count_together(serve, suffix, tmp_path):
    content = PACK[suffix]({f"{number}.raw": bytes(1 << 20) for number in range(6)})
    refused(serve, suffix, tmp_path, content, "'5.raw'", unpacked=(5 << 20) + (1 << 14))


@both
def test_an_archive_with_more_bytes_than_its_dataset_is_refused(serve, suffix, tmp_path):
    refused(serve, suffix, tmp_path, PACK[suffix](FILES), "'audio/b.wav'", f"{3 << 20:,}", unpacked=3 << 20)


@both
def test_entries_that_are_not_wanted_count_too(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES | {"bomb": bytes(5 << 20)})
    archive = archive_of(serve, suffix, unpacked=5 << 20)._replace(
        wanted=lambda path: str(path) if path.suffix else None
    )
    with complains(DataError, "'bomb'"):
        fetch_archive(archive, tmp_path / "data")


def test_zeros_after_the_end_of_a_tar_file_are_bounded(serve, tmp_path):
    content = gzip.compress(gzip.decompress(pack_tar(FILES)) + bytes(5 << 20), 1)
    refused(serve, ".tar.gz", tmp_path, content, unpacked=5 << 20)


def test_a_header_of_a_tar_file_is_bounded(serve, tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5 << 20
    content = gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"a" * header.size, 1)
    refused(serve, ".tar.gz", tmp_path, content, unpacked=4 << 20)


@both
def test_too_many_entries_are_refused(serve, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "MOST_ENTRIES", 2)
    refused(serve, suffix, tmp_path, PACK[suffix](FILES), "'meta/list.csv'", 2)


@both
def test_a_full_disk_is_noticed_before_it_is_full(serve, suffix, tmp_path, monkeypatch):
    (tmp_path / f"data{suffix}").write_bytes(PACK[suffix](FILES))
    with monkeypatch.context() as patch:
        patch.setattr(unpack, "RESERVE", 1 << 60)
        with complains(OSError, os.strerror(errno.ENOSPC), tmp_path / ".data.part"):
            fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {f"data{suffix}", ".data.lock"}
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert files_in(tmp_path / "data") == FILES


@both
def test_odd_names_are_unpacked_as_they_are(serve, suffix, tmp_path):
    files = {"new\nline.wav": b"1", "-lead.wav": b"2", " space .wav": b"3", "'\"$`.wav": b"4", "a" * 255: b"5"}
    serve.content = PACK[suffix](files)
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert files_in(tmp_path / "data") == files


def test_a_name_that_is_not_utf8_is_unpacked_as_it_is(serve, tmp_path):
    files = {"caf\udce9.wav": b"1", "b.wav": b"2"}
    serve.content = pack_tar(files)
    fetch_archive(archive_of(serve, ".tar.gz"), tmp_path / "data")
    assert files_in(tmp_path / "data") == files


# ---------------------------------------------------------------------------------------------
# Secure addresses
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://example.org/a.zip", "ftp://example.org/a.zip", "HTTP://127.0.0.1.example.org/a"]
)
def test_an_address_that_is_not_secure_is_refused(tmp_path, url):
    with complains(DataError, url, "https://", "file://"):
        download(url, tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "ftp://example.org/a.zip"])
def test_a_redirect_to_an_address_that_is_not_secure_is_refused(serve, tmp_path, monkeypatch, url):
    def redirect(self):
        self.send_response(302)
        self.send_header("Location", url)
        self.end_headers()

    monkeypatch.setattr(Handler, "do_GET", redirect)
    with complains(DataError, url, "https://"):
        download(serve.url, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_published_addresses_are_secure():
    assert {url.partition(":")[0] for url in (fsdd.URL, esc50.URL, speech_commands.URL)} == {"https"}


def test_a_local_mirror_is_used(tmp_path):
    (tmp_path / "mirror.zip").write_bytes(pack_zip(FILES))
    file = ArchiveFile((tmp_path / "mirror.zip").as_uri(), "data.zip")
    fetch_archive(Archive((file,), str, ""), tmp_path / "new" / "data")
    assert files_in(tmp_path / "new" / "data") == FILES
    assert (tmp_path / "mirror.zip").is_file()


def test_a_certificate_that_is_not_valid_is_one_error(tmp_path, monkeypatch):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    error.verify_message = "self-signed certificate"

    def fail(*_, **__):
        raise urllib.error.URLError(error)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", fail)
    with complains(DataError, "https://example.org/a", "self-signed certificate", "SSL_CERT_FILE"):
        download("https://example.org/a", tmp_path / "file")


# ---------------------------------------------------------------------------------------------
# Damaged archives
# ---------------------------------------------------------------------------------------------


@both
def test_an_archive_with_another_checksum_is_removed(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES | {"audio/a.wav": b"b" * 5000})
    expected = hashlib.sha256(PACK[suffix](FILES)).hexdigest()
    with complains(DataError, serve.url, expected, hashlib.sha256(serve.content).hexdigest()):
        fetch_archive(archive_of(serve, suffix, f"sha256:{expected}"), tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {".data.lock"}


@both
@pytest.mark.parametrize("change", [{"audio/a.wav": b"b" * 5000}, {"audio/a.wav": None}])
def test_every_file_is_compared_where_the_archive_has_no_checksum(serve, suffix, change, tmp_path):
    sums = sums_of(FILES, tmp_path / "data.md5")
    serve.content = PACK[suffix]({k: v for k, v in (FILES | change).items() if v is not None})
    named = () if None in change.values() else ("data.md5",)
    with complains(DataError, "audio/a.wav", *named):
        fetch_archive(archive_of(serve, suffix, sums=sums), tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {".data.lock", "data.md5"}
    serve.content = PACK[suffix](FILES)
    fetch_archive(archive_of(serve, suffix, sums=sums), tmp_path / "data")
    assert set(compare_sums(tmp_path / "data", sums).values()) == {""}


@both
def test_archive_without_wanted_files_is_reported(serve, suffix, tmp_path):
    for content in (PACK[suffix]({}), b"<html>gone</html>", b""):
        serve.content = content
        with complains(DataError, serve.url):
            fetch_archive(archive_of(serve, suffix), tmp_path / "data")
        assert {path.name for path in tmp_path.iterdir()} == {".data.lock"}


@both
def test_whichever_byte_is_damaged_the_folder_is_whole_or_not_there(suffix, tmp_path):
    files = {"a.wav": b"abc" * 40, "b.wav": bytes(range(60))}
    file = ArchiveFile("http://127.0.0.1:9/", f"data{suffix}")
    archive = Archive((file,), str, "", sums_of(files, tmp_path / "data.md5"))
    whole = PACK[suffix](files)
    for place in range(len(whole)):
        (tmp_path / file.name).write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            fetch_archive(archive, tmp_path / f"data{place}")
        except DataError:
            assert not (tmp_path / f"data{place}").exists()
        else:
            assert files_in(tmp_path / f"data{place}") == files
        assert not (tmp_path / file.name).exists()


# ---------------------------------------------------------------------------------------------
# Several processes, and ones that end early
# ---------------------------------------------------------------------------------------------

SCRIPT = """
import resource, sys
from pathlib import Path
from elasticast.data.download import Archive, ArchiveFile, fetch_archive
from elasticast.errors import DataError
url, name, folder, largest = sys.argv[1:]
if int(largest):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
try:
    fetch_archive(Archive((ArchiveFile(url, name),), str, "data"), Path(folder))
except (DataError, OSError) as error:
    sys.exit(str(error))
"""


def start(server, suffix, folder, largest=0):
    command = [sys.executable, "-c", SCRIPT, server.url, f"data{suffix}", str(folder), str(largest)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@both
def test_two_processes_download_and_unpack_once(serve, suffix, tmp_path):
    serve.content = PACK[suffix](FILES)
    serve.go_on.clear()  # the first process waits for the end of its download
    serve.with_length = False
    first = start(serve, suffix, tmp_path / "data")
    assert serve.sent.wait(60)
    second = start(serve, suffix, tmp_path / "data")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(2)
    serve.go_on.set()
    assert [process.wait(60) for process in (first, second)] == [0, 0]
    assert files_in(tmp_path / "data") == FILES
    assert len(serve.asked) == 1


@both
def test_after_a_kill_the_download_goes_on(serve, suffix, tmp_path):
    serve.content, serve.limit = PACK[suffix](FILES), 2 << 20
    serve.go_on.clear()
    process = start(serve, suffix, tmp_path / "data")
    assert serve.sent.wait(60)
    while not (tmp_path / f"data{suffix}.part").is_file() or not (tmp_path / f"data{suffix}.part").stat().st_size:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    got = (tmp_path / f"data{suffix}.part").stat().st_size
    serve.go_on.set()
    serve.limit = None
    (tmp_path / ".data.part" / "old").mkdir(parents=True)  # left over from a process that was killed while unpacking
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert serve.asked == [None, f"bytes={got}-"]
    assert files_in(tmp_path / "data") == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"data", ".data.lock"}


@both
def test_archive_is_kept_if_the_disk_is_full(serve, suffix, tmp_path):
    files = {"zeros.wav": bytes(4 << 20)}
    (tmp_path / f"data{suffix}").write_bytes(PACK[suffix](files))
    process = start(serve, suffix, tmp_path / "data", largest=1 << 20)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in text
    assert {path.name for path in tmp_path.iterdir()} == {f"data{suffix}", ".data.lock"}
    fetch_archive(archive_of(serve, suffix), tmp_path / "data")
    assert files_in(tmp_path / "data") == files
    assert not serve.asked
