"""Download and unpack the real data (`msd_subset`) or any published file (`fetch`). Importing downloads nothing."""

import gzip
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from functools import partial
from pathlib import Path

from tqdm import tqdm

from helpers import paths

# Sizes in bytes, approximate. No checksum was ever published: size and archive integrity are checked instead.
FILES = {
    "lastfm_subset": {
        "archive": "lastfm_subset.zip",
        "urls": [
            "http://millionsongdataset.com/sites/default/files/lastfm/lastfm_subset.zip",
            "http://labrosa.ee.columbia.edu/millionsong/sites/default/files/lastfm/lastfm_subset.zip",
        ],
        "size": 12_000_000,
        "sha256": None,
        "licence": "last.fm: research only, strictly non-commercial (millionsongdataset.com/lastfm)",
        "alternatives": "lastfm_train.zip and lastfm_test.zip have the same layout, for all songs",
    },
    "MillionSongSubset": {
        "archive": "millionsongsubset.tar.gz",
        "urls": [
            "https://labrosa.ee.columbia.edu/~dpwe/tmp/millionsongsubset.tar.gz",
            "http://labrosa.ee.columbia.edu/~dpwe/tmp/millionsongsubset.tar.gz",
        ],
        "size": 1_860_000_000,
        "sha256": None,
        "licence": "terms of The Echo Nest's API; cite Bertin-Mahieux et al., ISMIR 2011",
        # Its old host is not in `urls`: without a checksum nothing guards against that host's next owner.
        "alternatives": "older copies are called millionsongsubset_full.tar.gz; copies as CSV or Parquet do not do",
    },
}
ADVICE = (
    "Or look for a new address on millionsongdataset.com, ask a colleague for the archive, or set "
    "CRNN_DATA=<folder> to a copy you have. The demo set needs no download. Good to know: "
)
TIMEOUT, TRIES, WAIT = 20, 4, 2  # seconds without a byte; tries per address; seconds between them
DISK = 2.5  # an archive and what it unpacks to, in sizes of the archive
MAX_UNPACKED = 20_000_000_000  # bytes; several times the real thing, so more is a zip bomb
CHUNK = 1 << 18  # bytes
TROUBLE = (ConnectionError, TimeoutError, urllib.error.URLError, http.client.HTTPException, ssl.SSLError)
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


def msd_subset(folder: Path | str | None = None) -> Path:
    """Download and unpack both archives into `folder` (`data/msd-subset`); return it, for use as `CRNN_DATA`.

    Resumes what is partly there. Raises ConnectionError if the hosts are gone, ValueError for a damaged archive,
    OSError if the disk is too small.
    """
    root = Path(folder or paths.DATA / "msd-subset").expanduser().resolve()
    missing = {name: entry for name, entry in FILES.items() if not _finished(root / name)}
    here = sum(file.stat().st_size for entry in missing.values() for file in root.glob(entry["archive"] + "*"))
    need = DISK * sum(entry["size"] for entry in missing.values()) - here
    if missing and (free := paths.free_bytes(root)) < need:
        raise OSError(f"{root}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; give another folder.")
    for entry in missing.values():  # all before unpacking, the small one first: a dead host shows at once
        print(f"{entry['archive']}, {entry['size'] / 1e6:,.0f} MB. Licence: {entry['licence']}.")
        advice = f"{ADVICE}{entry['alternatives']}."
        fetch(entry["urls"], root / entry["archive"], entry["size"], entry["sha256"], advice)
    for name, entry in missing.items():
        unpack(root / entry["archive"], root / name)
        print(f"{root / name} is complete; {entry['archive']} may be deleted.")
    return root


def fetch(urls: list[str], path: Path | str, size: int, sha256: str | None = None, advice: str = "") -> Path:
    """Download a file of about `size` bytes to `path` from the first of `urls` that has it; return `path`.

    A file already at `path` is used; an interrupted download is kept in `<path>.part` and resumed. Raises
    ConnectionError (addresses tried, `advice`) if none has it, ValueError if the file at `path` has another SHA-256.
    """
    path, tried = Path(path), ""
    part = path.with_name(path.name + ".part")
    if path.exists():
        if sha256 and _sha256(path) != sha256:
            raise ValueError(f"{path} is not the published file (other SHA-256); delete it and run again.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with paths.naming(part):
        for url in urls:
            try:
                _download(url, part, size)
                if sha256 and _sha256(part) != sha256:
                    _forget(part)
                    raise ValueError("gives a file with another SHA-256 than the published one")
            except (*TROUBLE, ValueError) as error:
                tried += f"  {url}: {error}\n"
                continue
            os.replace(part, path)
            _forget(part)
            return path
    raise ConnectionError(
        f"{path.name} could not be downloaded. Tried:\n{tried}Run again to resume. "
        f"If you have the file, put it at {path} and run again. {advice}"
    )


def unpack(archive: Path | str, folder: Path | str) -> Path:
    """Extract the .h5, .json and .txt files of a .zip or tar archive to `folder`; return `folder`.

    Does nothing if `folder` is there: it appears whole or not at all. Raises ValueError, leaving nothing, for a
    damaged archive, names outside the folder, links, devices, or more than `MAX_UNPACKED` bytes.
    """
    archive, folder = Path(archive), Path(folder)
    if _finished(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a killed run; readers would find its files too
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        whole = Path(temporary) / "whole"
        try:
            written = _extract(archive, whole)
        except DAMAGE as error:
            raise ValueError(f"{archive} is damaged or no archive ({error}); delete it, run again.") from error
        if not written or not all(file.exists() for file in written):
            raise ValueError(f"{archive} holds no songs, or another run interfered; check it and run again.")
        inside = list(whole.iterdir())  # usually the one folder all names start with
        os.replace(inside[0] if len(inside) == 1 and inside[0].is_dir() else whole, folder)
    return folder


def _finished(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget(part: Path) -> None:
    part.with_suffix(".part.json").unlink(missing_ok=True)  # first: a part without its note is never continued
    part.unlink(missing_ok=True)


def _download(url: str, part: Path, size: int) -> None:
    for left in reversed(range(TRIES)):
        try:
            return _attempt(url, part, size)
        except TROUBLE as error:
            code = getattr(error, "code", None)
            if code == 416:  # the file is shorter than the part: it was replaced
                _forget(part)
            unknown = isinstance(getattr(error, "reason", None), socket.gaierror)  # no such host, or no network
            if left == 0 or unknown or code in (401, 403, 404, 410):
                raise
            time.sleep(WAIT)


def _attempt(url: str, part: Path, size: int) -> None:
    """Start or continue `part`; a note beside it says of which version of the file it is a part."""
    note, headers = part.with_suffix(".part.json"), {"User-Agent": "crnn-music-tagging"}
    try:
        origin, start = json.loads(note.read_text()), part.stat().st_size
    except (OSError, ValueError):
        origin, start = {}, 0
    if start and start == origin["total"]:
        return
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": origin["validator"]}
    if not url.startswith(("http://", "https://")):
        raise ValueError("only http and https are used")
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        tag = response.headers["ETag"] or "W/"  # a weak tag does not promise the same bytes
        validator = response.headers["Last-Modified"] if tag.startswith("W/") else tag
        if response.status == 206:
            whole = origin.get("total", 0)
            rest = f"bytes {start}-{whole - 1}/{whole}"
            # Not every server heeds If-Range; one that does may leave the validator out.
            if response.headers["Content-Range"] != rest or validator not in (None, origin["validator"]):
                _forget(part)
                raise ConnectionError("the file changed on the server")
        else:
            start = 0
        total = start + int(response.headers["Content-Length"] or 0)
        if not size / 4 <= total <= size * 4 or not response.url.startswith(("http://", "https://")):
            raise ValueError(f"{response.url} offers {total:,} bytes, not the file of about {size:,}")
        with part.open("ab" if start else "wb") as file:
            if not start:  # not before the old bytes are gone
                note.unlink(missing_ok=True)
                if validator:
                    note.write_text(json.dumps({"validator": validator, "total": total}))
            with tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar:
                while chunk := response.read1(CHUNK):
                    bar.update(file.write(chunk))
    if (done := part.stat().st_size) != total:
        raise ConnectionError(f"the connection was cut at {done:,} of {total:,} bytes")


def _members(archive: Path):
    """Yield (name, bytes, is a folder, is a plain file, function that opens it) for each member."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                yield info.filename, info.file_size, info.is_dir(), plain, partial(file.open, info)
    else:
        with tarfile.open(archive) as file:
            for info in file:
                yield info.name, info.size, info.isdir(), info.isfile(), partial(file.extractfile, info)
            # Reading to the end lets gzip verify its checksum; more than padding means a damaged header.
            if len(file.fileobj.read(CHUNK)) == CHUNK:
                raise tarfile.ReadError("data after the end")


def _extract(archive: Path, folder: Path) -> set[Path]:
    """Write the wanted members as plain new files below `folder`, whatever the archive says of modes or owners."""
    written, total = set(), 0
    for name, size, is_folder, plain, opener in tqdm(_members(archive), desc=archive.name, unit=" files"):
        parts = name.replace("\\", "/").split("/")
        total += size  # neither tarfile nor zipfile gives out more than the size declared
        if parts[0] == "" or ".." in parts or ":" in name or not (is_folder or plain):
            raise ValueError(f"{archive}: {name!r} is a link, a device or outside the folder; do not use it.")
        if size < 0 or total > MAX_UNPACKED:
            raise ValueError(f"{archive} unpacks to over {MAX_UNPACKED / 1e9:.0f} GB; do not use it.")
        if plain and name.endswith((".h5", ".json", ".txt")) and parts[-1][0] != ".":
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opener() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
            written.add(target)
    return written
