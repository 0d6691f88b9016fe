"""Tag recordings with a trained network: what notebook 09 uses, and the command `python -m helpers.tag FILE...`.

The network's input decides what is computed from a recording: (12, S, 1) takes the first S chroma segments of
the whole (Mason 2020), (96, 1366, 1) the log-mel-spectrogram of the centre 29.12 s (Choi et al. 2017).
"""

import argparse
import json
import os
import sys
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from helpers import audio, tags
from helpers.reading import READ_ERRORS, find_files

MEL_INPUT = (audio.N_MELS, 1 + audio.NUM_SAMPLES // audio.HOP_LENGTH, 1)
AHEAD = 8  # files decoded while the network is busy: bounds the memory, however many files there are


def load_model(path: Path):
    """Return the `keras.Model` of a `.keras` file, not compiled, if it takes one of the two inputs above.

    Keras's safe mode refuses files that bring code of their own; other formats, which it does not guard, are not
    opened. Still, open only models that you made or trust. Raises ValueError for a file that is refused, damaged or
    takes another input, and FileNotFoundError.
    """
    import keras

    from helpers import models, pretrained  # noqa: F401 - they register the layers that such a file may name

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the model.keras of a run in results/.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .keras file; write one with model.save('name.keras').")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damage leads to
        reason = " ".join(f"{error or type(error).__name__}".split())[:300]
        raise ValueError(f"{path} holds no model that Keras opens safely: {reason}") from error
    num_segments(model)
    return model


def num_segments(model) -> int | None:
    """Return how many segments a chroma network takes, None for a log-mel network; ValueError for any other."""
    shape = model.input_shape
    if tuple(shape) == (None, *MEL_INPUT):
        return None
    if len(shape) == 4 and shape[1] == 12 and shape[2] and shape[3] == 1:
        return shape[2]
    raise ValueError(f"its input is {shape}; needed is (None, 12, segments, 1) or {(None, *MEL_INPUT)}.")


def vocabulary_of(model, names: Iterable | None = None) -> list:
    """Return the tags of the model's outputs: `names`, by default Mason's 50 for chroma and Choi's for log-mel.

    Raises ValueError if there are more or fewer outputs than different names.
    """
    default = tags.CHOI_TOP50 if num_segments(model) is None else tags.MASON_TOP50
    names = list(default if names is None else names)
    if tuple(model.output_shape) != (None, len(names)) or len(set(names)) < len(names):
        raise ValueError(f"its output is {model.output_shape}; give as many different tags, not {len(set(names))}.")
    return names


def features(path: Path, model) -> np.ndarray:
    """Return what `model` is to see of a recording: float32 (1, 12, S, 1) or (1, 96, 1366, 1).

    Raises as `audio.load`, and ValueError if there are fewer than S segments: no repetition would be the song.
    """
    path, wanted = Path(path), num_segments(model)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, holds no recordings or is no plain file; check the name.")
    if wanted is None:
        return mel_input(audio.load_clip(path), model)
    pitches = audio.segments_pitches(audio.load(path))
    if len(pitches) < wanted:
        raise ValueError(f"{path} has {len(pitches)} segments, the model needs {wanted}; take a longer recording.")
    return pitches[np.newaxis, :wanted, :, np.newaxis].swapaxes(1, 2)


def mel_input(clip: np.ndarray, model) -> np.ndarray:
    """Return the log-mel-spectrogram of a clip as a batch of one; squared twice for the network of 2016 alone."""
    return audio.log_mel(clip, squared_twice=model.name == "choi_crnn_2016")[np.newaxis, ..., np.newaxis]


def predict(model, x: np.ndarray) -> np.ndarray:
    """Return the scores of the one recording in the batch `x`: float32 (num_tags,). ValueError if any is NaN."""
    scores = np.asarray(model.predict_on_batch(x), np.float32)[0]  # five times as fast as predict for a batch of one
    if not np.isfinite(scores).all():
        raise ValueError("the model's scores are not finite; it has diverged, so train it anew.")
    return scores


def taggram(model, samples: np.ndarray, hop: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the tags over time: `times`, float64 (windows,), in seconds, and `scores`, float32 (windows, num_tags).

    `samples` come from `audio.load`, `model` is a log-mel network. A window of 29.12 s begins every `hop` seconds,
    as long as it fits; `times` are the windows' centres. A shorter recording is one window, with zeros at its end.
    """
    if num_segments(model) is not None or hop <= 0:
        raise ValueError(f"hop is {hop} and the input {model.input_shape}; needs hop > 0 and a log-mel network.")
    samples = np.pad(samples, (0, max(0, audio.NUM_SAMPLES - len(samples))))
    starts = np.arange(0, len(samples) - audio.NUM_SAMPLES + 1, max(1, round(hop * audio.SR)))
    scores = [predict(model, mel_input(samples[start : start + audio.NUM_SAMPLES], model)) for start in starts]
    return (starts + audio.NUM_SAMPLES / 2) / audio.SR, np.stack(scores)


def top(scores: np.ndarray, vocabulary: list[str], count: int = 5) -> dict[str, float]:
    """Return the `count` tags with the highest scores, highest first, and these."""
    return {vocabulary[i]: float(scores[i]) for i in np.argsort(-scores, kind="stable")[:count]}


def find_recordings(places: Iterable[Path]) -> list[Path]:
    """Return the files among `places` as they are, and for each folder the recordings below it, sorted."""
    found = []
    for place in map(Path, places):
        root = Path(os.path.abspath(place))
        inside = [place / file.relative_to(root) for file in find_files(place, "")] if place.is_dir() else []
        found += [file for file in inside if file.suffix.lower() in audio.SUFFIXES] or [place]
    return found


def save_upload(value: tuple | dict, folder: Path) -> Path:
    """Write the first file of an `ipywidgets.FileUpload`'s value into `folder` and return its path.

    ipywidgets 8 gives a tuple of files, ipywidgets 7, which Colab has, a dictionary of files by name.
    """
    name, sent = next(iter(value.items())) if isinstance(value, dict) else (value[0]["name"], value[0])
    path = Path(folder, Path(name).name)
    path.write_bytes(sent["content"])
    return path


def tag_files(model, files: Iterable[Path]) -> Iterator[tuple[Path, np.ndarray | None, str | None]]:
    """Yield (path, scores, None), or (path, None, reason) if one cannot be tagged, in the order of `files`."""
    files = iter(files)
    with ThreadPoolExecutor() as pool:  # decoding releases Python's lock
        pending = deque((file, pool.submit(features, file, model)) for file in islice(files, AHEAD))
        while pending:
            path, future = pending.popleft()
            try:
                scores, reason = predict(model, future.result()), None
            except READ_ERRORS as error:
                scores, reason = None, (str(error) or type(error).__name__).removeprefix(f"{path} ")
            yield path, scores, reason
            pending.extend((file, pool.submit(features, file, model)) for file in islice(files, 1))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if every file was tagged, 1 if any was not."""
    parser = argparse.ArgumentParser("python -m helpers.tag", description="Print the likeliest tags of recordings.")
    parser.epilog = "Exit code: 0 if every file was tagged, 1 if any was not, 2 if nothing could begin."
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a recording, or a folder of them")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--model", type=Path, help="a .keras file you trust; without it Choi's CRNN of 2016")
    network.add_argument("--weights", type=Path, help="a local copy of the weights of 2016, else downloaded once")
    parser.add_argument("--tags", type=Path, help="text file with the names of the model's outputs, one a line")
    parser.add_argument("--top", type=int, default=5, help="tags a recording (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # no name ends the run
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.top < 1:
            raise ValueError(f"--top is {options.top}; use 1 or more.")
        names = options.tags and list(filter(None, map(str.strip, options.tags.read_text("utf-8-sig").splitlines())))
        files = find_recordings(options.files)
        model = _network(options)
        vocabulary = vocabulary_of(model, names)
    except (OSError, ValueError) as error:
        parser.error("\n".join(map(_printable, str(error).split("\n"))))
    results = tqdm(tag_files(model, files), total=len(files), unit="file", disable=None)
    try:
        code = _report(results, vocabulary, options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes again
        code = 1
    return code


def _network(options):
    if options.model is None:
        from helpers import pretrained

        return pretrained.choi_crnn_2016(options.weights)
    run = options.model.parent / "run.json"
    if run.is_file() and json.loads(run.read_text()).get("data", {}).get("synthetic"):
        print("This model was trained on synthetic demo data; it knows no real music.", file=sys.stderr)
    return load_model(options.model)


def _report(results, vocabulary, options):
    rows, num_broken = [], 0
    if not options.json:
        print("file\ttag\tscore")
    for path, scores, reason in results:
        if reason:
            num_broken += 1
            rows.append({"file": str(path), "error": reason})
            tqdm.write(_printable(f"{path}: {reason}"), sys.stderr)
            continue
        best = top(scores, vocabulary, options.top)
        rows.append({"file": str(path), "tags": {tag: round(score, 4) for tag, score in best.items()}})
        for tag, score in {} if options.json else best.items():
            tqdm.write(f"{_printable(path)}\t{_printable(tag)}\t{score:.3f}", sys.stdout)
    if options.json:
        print(json.dumps(rows, indent=1))
    return int(num_broken > 0)


def _printable(text):
    """Return `text` with control characters escaped: a file name must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


if __name__ == "__main__":
    sys.exit(main())
