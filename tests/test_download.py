"""Downloads from a small server on 127.0.0.1 that misbehaves in the ways real ones do; damaged and hostile archives."""

import hashlib
import io
import random
import shutil
import socket
import tarfile
import threading
import time
import urllib.error
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers import download

CONTENT = random.Random(0).randbytes(1_000_000)
SIZE = len(CONTENT)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers["Range"]))
        if self.path not in server.files:
            self.send_error(404)
            return
        body, start = server.files[self.path], 0
        asked = self.headers["Range"] if server.ranges else None
        if asked and (self.headers["If-Range"] in server.validators.values() or not server.heeds_if_range):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in server.validators.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: server.cuts.pop(0) if server.cuts else None])
        if server.stalls:
            time.sleep(server.stalls.pop())

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.cuts, server.requests, server.stalls = {"/a.bin": CONTENT}, [], [], []
        server.validators = {"ETag": '"one"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        server.handle_error = lambda *args: None  # a client that hangs up is no news
        server.ranges = server.heeds_if_range = True
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, folder, **options):
    return download.fetch([server.url + "/a.bin"], folder / "a.bin", SIZE, **options)


def interrupt(server, folder, monkeypatch):
    """Leave a part of 600,000 bytes, as an interrupted run does."""
    server.cuts = [600_000]
    with monkeypatch.context() as patch, pytest.raises(ConnectionError, match="cut at 600,000 of 1,000,000 bytes"):
        patch.setattr(download, "TRIES", 1)
        fetch(server, folder)
    assert not (folder / "a.bin").exists()
    server.requests.clear()


def ranges(server):
    return [asked for _, asked in server.requests]


def test_a_file_is_downloaded_once(server, tmp_path):
    path = fetch(server, tmp_path, checksum=hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]
    fetch(server, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("validators", [{"ETag": '"one"'}, {"ETag": 'W/"one"', "Last-Modified": "Mon"}])
def test_cut_connections_are_resumed(server, tmp_path, validators):
    server.validators, server.cuts = validators, [400_000, 300_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-", "bytes=700000-"]


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.cuts, server.stalls = [400_000], [0.6]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=400000-"]


@pytest.mark.parametrize("ranges_heeded", [True, False])
def test_a_later_run_resumes_or_starts_over(server, tmp_path, monkeypatch, ranges_heeded):
    interrupt(server, tmp_path, monkeypatch)
    server.ranges = ranges_heeded
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=600000-"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_without_a_version_nothing_is_joined(server, tmp_path, monkeypatch):
    server.validators, server.files["/a.bin"] = {}, CONTENT[::-1]
    interrupt(server, tmp_path, monkeypatch)
    server.files["/a.bin"] = CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert ranges(server) == [None]


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("new", [CONTENT[::-1], CONTENT[::-1] + b"longer", CONTENT[:500_000][::-1]])
def test_a_file_that_changed_is_downloaded_anew(server, tmp_path, monkeypatch, new, heeds_if_range):
    interrupt(server, tmp_path, monkeypatch)
    server.files["/a.bin"], server.heeds_if_range = new, heeds_if_range
    server.validators = {"ETag": '"two"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
    assert fetch(server, tmp_path).read_bytes() == new


def test_the_next_address_is_used_and_404_is_not_retried(server, tmp_path):
    urls = [server.url + "/gone", server.url + "/a.bin"]
    assert download.fetch(urls, tmp_path / "a.bin", SIZE).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/gone", "/a.bin"]


def test_when_all_hosts_are_gone_the_error_says_what_to_do(server, tmp_path):
    with socket.socket() as taken, pytest.raises(ConnectionError) as caught:
        taken.bind(("127.0.0.1", 0))  # but not listening: refuses connections
        urls = [server.url + "/gone", f"http://127.0.0.1:{taken.getsockname()[1]}/a.bin"]
        download.fetch(urls, tmp_path / "a.bin", SIZE, advice="Use the demo set.")
    message = str(caught.value)
    assert all(text in message for text in [*urls, "404", "refused", str(tmp_path / "a.bin"), "Use the demo set."])


def test_without_a_network_it_gives_up_at_once(tmp_path, monkeypatch):
    def no_host(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(download.urllib.request, "urlopen", no_host)
    monkeypatch.setattr(download.time, "sleep", lambda _: pytest.fail("waited for a network that is not there"))
    with pytest.raises(ConnectionError, match="name resolution"):
        download.fetch(["https://nowhere.invalid/a", "https://nowhere.invalid/b"], tmp_path / "a", 10)


@pytest.mark.parametrize("kind", [hashlib.sha256, hashlib.md5])
def test_a_wrong_checksum_is_refused_and_not_kept(server, tmp_path, kind):
    server.files["/b.bin"] = CONTENT[::-1]
    right = kind(CONTENT).hexdigest()
    urls = [server.url + "/b.bin", server.url + "/a.bin"]
    assert download.fetch(urls, tmp_path / "a.bin", SIZE, right).read_bytes() == CONTENT
    with pytest.raises(ConnectionError, match="another checksum"):
        download.fetch(urls[:1], tmp_path / "b.bin", SIZE, right)
    assert not (tmp_path / "b.bin").exists()
    with pytest.raises(ValueError, match=r"a\.bin is not the published file"):  # put there by hand
        download.fetch([], tmp_path / "a.bin", SIZE, "0" * len(right))


def test_a_web_page_does_not_replace_what_is_there(server, tmp_path, monkeypatch):
    interrupt(server, tmp_path, monkeypatch)
    server.files["/a.bin"], server.validators = b"<html>This domain is for sale", {}
    with pytest.raises(ConnectionError, match="offers 29 bytes"):
        fetch(server, tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 600_000


# --- Archives ------------------------------------------------------------------------------------------------


def make_tar(path, members):
    """`members`: name -> bytes, or name -> (type, link target)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


SONGS = {"Set/A/B/TRAB1.h5": b"one" * 1000, "Set/A/C/TRAC1.json": b"{}", "Set/LICENSE.txt": b"text"}


def files_below(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())


@pytest.mark.parametrize("make, name, top", [(make_tar, "x.tar.gz", "Set/"), (make_zip, "x.zip", "Set/"),
                                             (make_tar, "two_tops.tar.gz", "")])  # fmt: skip
def test_an_archive_is_unpacked_once(tmp_path, make, name, top):
    archive = make(tmp_path / name, {song.replace("Set/", top): content for song, content in SONGS.items()})
    folder = download.unpack(archive, tmp_path / "out" / "songs")
    assert files_below(folder) == ["A/B/TRAB1.h5", "A/C/TRAC1.json", "LICENSE.txt"]
    assert (folder / "A/B/TRAB1.h5").read_bytes() == SONGS["Set/A/B/TRAB1.h5"]
    assert [file.name for file in folder.parent.iterdir()] == ["songs"]
    archive.unlink()
    assert download.unpack(archive, folder) == folder


@pytest.mark.parametrize(
    "bad",
    [
        {"../evil.h5": b"x"},
        {"Set/../../evil.h5": b"x"},
        {"Set/link.h5": (tarfile.SYMTYPE, "/etc/passwd")},
        {"Set/link": (tarfile.SYMTYPE, "../..")},
        {"Set/device.h5": (tarfile.CHRTYPE, "")},
    ],
    ids=str,
)
def test_a_hostile_tar_leaves_nothing(tmp_path, bad):
    archive = make_tar(tmp_path / "bad.tar.gz", SONGS | bad)
    with pytest.raises(ValueError, match="no safe archive"):
        download.unpack(archive, tmp_path / "out" / "songs")
    assert files_below(tmp_path) == ["bad.tar.gz"]


def test_names_that_lead_out_of_a_folder_stay_inside(tmp_path):
    hostile = {"../evil.h5": b"x", f"{tmp_path}/evil.h5": b"x"}
    for name, make in (("bad.zip", make_zip), ("bad.tar.gz", make_tar)):
        if make is make_tar:
            hostile.pop("../evil.h5")  # refused, see above
        folder = download.unpack(make(tmp_path / name, SONGS | hostile), tmp_path / f"{name}_songs")
        assert any(file.endswith("evil.h5") for file in files_below(folder))
    assert not any(tmp_path.glob("*.h5"))


def truncated(data):
    return data[: len(data) // 2]


def flipped(data):
    # A bit of gzip's own checksum, or of a zip member's content: only the checksum can tell.
    place = len(data) - 6 if data.startswith(b"\x1f\x8b") else 60
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda data: b"<html>Not found", lambda data: b""])
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_a_damaged_archive_leaves_nothing(tmp_path, make, damage):
    archive = make(tmp_path / ("x.zip" if make is make_zip else "x.tar.gz"), SONGS | {"Set/z.h5": CONTENT})
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match="damaged or no safe archive"):
        download.unpack(archive, tmp_path / "songs")
    assert files_below(tmp_path) == [archive.name]


# --- The subset ----------------------------------------------------------------------------------------------


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """Serve two small archives in place of the real ones."""
    source = tmp_path / "source"
    source.mkdir()
    msd = make_tar(source / "m.tar.gz", {"MillionSongSubset/A/A/A/TRAAA1.h5": CONTENT}).read_bytes()
    lastfm = make_zip(source / "l.zip", {"lastfm_subset/A/A/A/TRAAA1.json": b"{}"}).read_bytes()
    files = {}
    for name, body in (("lastfm_subset", lastfm), ("MillionSongSubset", msd)):
        entry = download.FILES[name]
        server.files["/" + entry["archive"]] = body
        files[name] = entry | {"urls": [f"{server.url}/{entry['archive']}"], "size": len(body)}
    monkeypatch.setattr(download, "FILES", files)
    return server


def test_msd_subset_is_downloaded_unpacked_and_then_left_alone(published, tmp_path, capsys):
    published.cuts = [None, 300_000]
    root = tmp_path / "data"
    root.mkdir()
    (root / "lastfm_subset.zip").write_bytes(published.files.pop("/lastfm_subset.zip"))  # put there by hand
    assert download.msd_subset(root) == root
    assert {"MillionSongSubset/A/A/A/TRAAA1.h5", "lastfm_subset/A/A/A/TRAAA1.json"} < set(files_below(root))
    printed = capsys.readouterr().out
    assert "millionsongsubset.tar.gz, 1 MB" in printed and "non-commercial" in printed
    published.requests.clear()
    for archive in ("millionsongsubset.tar.gz", "lastfm_subset.zip"):
        (root / archive).unlink()
    download.msd_subset(root)
    assert published.requests == []


def test_a_dead_host_is_reported_with_alternatives(published, tmp_path):
    del published.files["/millionsongsubset.tar.gz"]
    with pytest.raises(ConnectionError) as caught:
        download.msd_subset(tmp_path / "data")
    for text in ("404", "CRNN_DATA", "demo set", str(tmp_path / "data" / "millionsongsubset.tar.gz")):
        assert text in str(caught.value)


def test_a_small_disk_is_refused_before_anything(published, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2_000_000))
    with pytest.raises(OSError, match="GB needed"):
        download.msd_subset(tmp_path / "data")
    assert published.requests == []
