"""Download real data (`msd_subset`, `billboard`) or any published file (`fetch`). Importing downloads nothing."""

import gzip
import hashlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import time
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from helpers import paths
from helpers.billboard import convert

# Sizes in bytes, approximate. No checksum was ever published: size and archive integrity are checked instead.
FILES = {
    "lastfm_subset": {
        "archive": "lastfm_subset.zip",
        "urls": [
            "http://millionsongdataset.com/sites/default/files/lastfm/lastfm_subset.zip",
            "http://labrosa.ee.columbia.edu/millionsong/sites/default/files/lastfm/lastfm_subset.zip",
        ],
        "size": 12_000_000,
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
        "licence": "terms of The Echo Nest's API; cite Bertin-Mahieux et al., ISMIR 2011",
        # Its old host is not in `urls`: without a checksum nothing guards against that host's next owner.
        "alternatives": "older copies are called millionsongsubset_full.tar.gz; copies as CSV or Parquet do not do",
    },
}
# The McGill Billboard collection: file, its place on the host, bytes (the last: estimated), MD5.
BILLBOARD = [
    ("billboard-2.0-index.csv", "o0olz0uwl9z9stb", 61_542, "c47d304c212725998839cf9bb1a417aa"),
    ("billboard-2.0-salami_chords.tar.gz", "2lvny9ves8kns4o", 334_079, "6954a6fad962a111e69c9c80cb87d3a5"),
    ("billboard-2.0-chordino.tar.gz", "e9dm23vbawg9dsw", 300_000_000, "530218e8d7077bbd4b08b45f447f5e8f"),
]
ADVICE = (
    "Or look for a new address on millionsongdataset.com, ask a colleague for the archive, or set "
    "CRNN_DATA=<folder> to a copy you have. The demo set needs no download. Good to know: "
)
TIMEOUT, TRIES, WAIT = 20, 4, 2  # seconds without a byte; tries per address; seconds between them
DISK = 2.5  # an archive and what it unpacks to, in sizes of the archive
CHUNK = 1 << 18  # bytes
TROUBLE = (OSError, http.client.HTTPException)
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


def msd_subset(folder: Path | str | None = None) -> Path:
    """Download and unpack both archives into `folder` (`data/msd-subset`); return it, for use as `CRNN_DATA`.

    Resumes what is partly there. Raises ConnectionError if the hosts are gone, ValueError for a damaged archive,
    OSError if the disk is too small.
    """
    root = Path(folder or paths.DATA / "msd-subset").expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    missing = {name: entry for name, entry in FILES.items() if not (root / name).exists()}
    here = sum(file.stat().st_size for entry in missing.values() for file in root.glob(entry["archive"] + "*"))
    need = DISK * sum(entry["size"] for entry in missing.values()) - here
    if (free := shutil.disk_usage(root).free) < need:
        raise OSError(f"{root}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; give another folder.")
    for entry in missing.values():  # all before unpacking, the small one first: a dead host shows at once
        print(f"{entry['archive']}, {entry['size'] / 1e6:,.0f} MB. Licence: {entry['licence']}.")
        advice = f"{ADVICE}{entry['alternatives']}."
        fetch(entry["urls"], root / entry["archive"], entry["size"], advice=advice)
    for name, entry in missing.items():
        unpack(root / entry["archive"], root / name)
        print(f"{root / name} is complete; {entry['archive']} may be deleted.")
    return root


def billboard(folder: Path | str | None = None) -> Path:
    """Download the McGill Billboard collection and convert it to `folder` (`data/billboard`); return it.

    Nothing is done if `folder` is there. Raises ConnectionError if the host is gone, ValueError for other files.
    """
    folder = Path(folder or paths.DATA / "billboard").expanduser().resolve()
    if not folder.exists():
        print("McGill Billboard, 300 MB. Licence: CC0; cite Burgoyne, Wild and Fujinaga, ISMIR 2011.")
        source = folder.with_name(f"{folder.name}-archives")
        for name, place, size, md5 in BILLBOARD:
            fetch([f"https://www.dropbox.com/s/{place}/{name}?dl=1"], source / name, size, md5)
        convert(source, folder)
    return folder


def fetch(urls: list[str], path: Path | str, size: int, checksum: str | None = None, advice: str = "") -> Path:
    """Download a file of about `size` bytes to `path` from the first of `urls` that has it; return `path`.

    A file already at `path` is used; an interrupted download is kept in `<path>.part` and resumed. `checksum`: SHA-256
    or MD5. Raises ConnectionError (addresses tried, `advice`) if none has it, ValueError if `path` has another one.
    """
    path, part, tried = Path(path), Path(f"{path}.part"), ""
    if path.exists():
        if checksum and _digest(path, checksum) != checksum:
            raise ValueError(f"{path} is not the published file (other checksum); delete it and run again.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    for url in urls:
        try:
            _download(url, part, size)
            if checksum and _digest(part, checksum) != checksum:
                part.unlink()
                raise ValueError("gives a file with another checksum than the published one")
        except (*TROUBLE, ValueError) as error:
            tried += f"  {url}: {error}\n"
            continue
        os.replace(part, path)
        _note(part).unlink(missing_ok=True)
        return path
    raise ConnectionError(
        f"{path.name} could not be downloaded. Tried:\n{tried}Run again to resume. "
        f"If you have the file, put it at {path} and run again. {advice}"
    )


def unpack(archive: Path | str, folder: Path | str) -> Path:
    """Extract a .zip or tar archive to `folder`, which appears whole or not at all; return `folder`.

    Does nothing if `folder` is there. Raises ValueError for an archive that is damaged or reaches out of the folder.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        whole = Path(temporary) / "whole"
        try:
            _extract(archive, whole)
        except DAMAGE as error:
            raise ValueError(f"{archive} is damaged or no safe archive ({error}); delete it, run again.") from error
        inside = list(whole.iterdir())  # usually the one folder all names start with
        os.replace(inside[0] if len(inside) == 1 and inside[0].is_dir() else whole, folder)
    return folder


def _digest(path, like):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5" if len(like) == 32 else "sha256").hexdigest()


def _note(part):
    return Path(f"{part}.version")  # beside a part: of which version of the file it is one


def _download(url, part, size):
    for left in reversed(range(TRIES)):
        try:
            return _attempt(url, part, size)
        except TROUBLE as error:
            code = getattr(error, "code", None)
            if code == 416:  # there is no more than the part has, or less: the file was replaced
                part.unlink()
            unknown = isinstance(getattr(error, "reason", None), socket.gaierror)  # no such host, or no network
            if left == 0 or unknown or code in (401, 403, 404, 410):
                raise
            time.sleep(WAIT)


def _attempt(url, part, size):
    """Start `part`, or continue it if the server still has the version that it is of."""
    known = _note(part).read_text() if _note(part).exists() and part.exists() else ""
    start = part.stat().st_size if known else 0
    headers = {"Range": f"bytes={start}-", "If-Range": known} if start else {}
    request = urllib.request.Request(url, headers=headers | {"User-Agent": "crnn-music-tagging"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        tag = response.headers["ETag"] or "W/"  # a weak tag does not promise the same bytes
        version = (response.headers["Last-Modified"] if tag.startswith("W/") else tag) or ""
        if response.status != 206:
            start = 0
        elif version != known or not response.headers["Content-Range"].startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise ConnectionError("the file changed on the server")
        total = start + int(response.headers["Content-Length"] or 0)
        if not size / 4 <= total <= size * 4:
            raise ValueError(f"{response.url} offers {total:,} bytes, not the file of about {size:,}")
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem)
        with bar, part.open("ab" if start else "wb") as file:
            _note(part).write_text(version)  # not before the old bytes are gone
            while chunk := response.read1(CHUNK):
                bar.update(file.write(chunk))
    if (done := part.stat().st_size) != total:
        raise ConnectionError(f"the connection was cut at {done:,} of {total:,} bytes")


def _extract(archive, folder):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder, tqdm(file.infolist(), archive.name, unit=" files"))
    else:
        with tarfile.open(archive) as file:
            file.extractall(folder, tqdm(file, archive.name, unit=" files"), filter="data")
            while file.fileobj.read(CHUNK):  # gzip verifies its checksum at the end
                pass
