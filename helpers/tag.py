"""Tags for recordings, from a trained network; also as a command: `python -m helpers.tag FILE...`."""

import argparse
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from helpers import audio, tags
from helpers.reading import READ_ERRORS, explain


def load_model(path: Path | None = None):
    """Return the network in a `.keras` file, not compiled, or Choi's of 2016; ValueError if Keras cannot safely."""
    from helpers import pretrained  # here, for it loads Keras; it also registers the layers that a file may name

    if path is None:
        return pretrained.choi_crnn_2016()
    if Path(path).suffix != ".keras":  # Keras guards no other format against code
        raise ValueError(f"{path} is no .keras file; give the model.keras of a run in results/.")
    try:
        return pretrained.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the damage leads to
        raise ValueError(f"{path} holds no model that Keras opens safely: {error}") from error


def features(path: Path, model) -> np.ndarray:
    """Return what `model` is to see of a recording, float32; ValueError if it is too short or cannot be read.

    (1, 12, S, 1): its first S chroma segments (Mason 2020); also of a `.json` file, a song's analysis as the Echo Nest
    and Spotify gave it out. (1, 96, 1366, 1): log-mel, centre 29.12 s (Choi et al. 2017); also MTG-Jamendo's `.npy`.
    """
    path, (_, rows, wanted, _) = audio.as_on_disk(Path(path)), model.input_shape
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, holds no recordings or is no plain file; check the name.")
    if rows != 12:
        return mel_input(path if path.suffix == ".npy" else audio.load_clip(path), model)
    pitches = _analysed(path) if path.suffix.lower() == ".json" else audio.segments_pitches(audio.load(path))
    if len(pitches) < wanted:  # no repetition would be the song
        raise ValueError(f"{path} has {len(pitches)} segments, the model needs {wanted}; take a longer recording.")
    return pitches[np.newaxis, :wanted, :, np.newaxis].swapaxes(1, 2)


def _analysed(path):
    try:
        segments = (record := json.loads(path.read_bytes())).get("audio_analysis", record)["segments"]
        return np.array([segment["pitches"] for segment in segments], np.float32).reshape(len(segments), 12)
    except (*READ_ERRORS, AttributeError) as error:
        raise ValueError(f"{path} is no analysis with `segments` of 12 `pitches` each: {error!r}.") from error


def mel_input(clip: np.ndarray | Path, model) -> np.ndarray:
    """Return a clip's, or a published, log-mel-spectrogram as a batch of one; squared twice for `choi_crnn_2016*`."""
    mel = audio.published_mel if isinstance(clip, Path) else audio.log_mel
    return mel(clip, squared_twice=model.name.startswith("choi_crnn_2016"))[np.newaxis, ..., np.newaxis]


def predict(model, x: np.ndarray) -> np.ndarray:
    """Return the scores of the one recording in the batch `x`: float32 (num_tags,). ValueError if any is NaN."""
    scores = np.asarray(model.predict_on_batch(x), np.float32)[0]  # five times as fast as predict for a batch of one
    if not (np.isfinite(scores).all() and np.isfinite(x).all()):  # pooling can lose a NaN
        raise ValueError("the scores are not finite: the model has diverged, or the input holds NaN.")
    return scores


def top(scores: np.ndarray, vocabulary: list[str], count: int = 5) -> dict[str, float]:
    """Return the `count` tags with the highest scores, highest first, and these."""
    return {vocabulary[i]: float(scores[i]) for i in np.argsort(-scores, kind="stable")[:count]}


def tag_files(model, files: list[Path]):
    """Yield (path, scores, None), or (path, None, reason) if one cannot be tagged, in the order of `files`."""
    with ThreadPoolExecutor() as pool:  # decoding releases Python's lock
        for chunk in (files[start : start + 8] for start in range(0, len(files), 8)):  # bounds the memory
            for path, future in [(path, pool.submit(features, path, model)) for path in chunk]:
                try:
                    yield path, predict(model, future.result()), None
                except READ_ERRORS as error:
                    yield path, None, explain(error).removeprefix(f"{path} ")


def _network(path, tags_file):
    """Return the network and the names of its outputs; ValueError if nothing says what they stand for."""
    source = run = path and path.with_name("run.json")
    try:
        record = json.loads(run.read_text("utf-8")) if run and run.is_file() else {}
        source = tags_file
        names = source and [*filter(None, map(str.strip, source.read_text("utf-8-sig").splitlines()))]
    except ValueError as error:
        raise ValueError(f"{source} is damaged or not in UTF-8 ({error}); save it anew.") from error
    model = load_model(path)
    if not tags_file:
        names = record.get("tags") or (tags.CHOI_TOP50 if model.name == "choi_crnn_2016" else [])
    if not len(names) == len(set(names)) == model.output_shape[-1]:
        counts = f"{len(set(names))} names for {model.output_shape[-1]} outputs"
        raise ValueError(f"{tags_file or path}: {counts}; give --tags FILE with one name a line.")
    if record.get("data", {}).get("synthetic"):
        print("This model was trained on synthetic demo data; it knows no real music.", file=sys.stderr)
    return model, names


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if every file was tagged, 1 if any was not (2 if nothing could begin)."""
    parser = argparse.ArgumentParser("python -m helpers.tag", description="Print the likeliest tags of recordings.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recording, folder or song's analysis")
    parser.add_argument("--model", type=Path, help="a .keras file you trust; without it Choi's CRNN of 2016")
    parser.add_argument("--tags", type=Path, help="text file with the names of the model's outputs, one a line")
    parser.add_argument("--top", type=int, default=5, help="tags a recording (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # no name ends the run
    try:
        model, names = _network(options.model, options.tags)
        found = ((audio.recordings(place) if place.is_dir() else []) or [place] for place in options.files)
        files = [file for files in found for file in files]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    rows = []
    if not options.json:
        print("file\ttag\tscore")
    for path, scores, reason in tag_files(model, files):
        best = {} if reason else {tag: round(score, 4) for tag, score in top(scores, names, options.top).items()}
        rows.append({"file": str(path)} | ({"error": reason} if reason else {"tags": best}))
        if reason:
            print(f"{path}: {reason}", file=sys.stderr)
        for tag, score in {} if options.json else best.items():
            print(f"{path}\t{tag}\t{score:.3f}")
    if options.json:
        print(json.dumps(rows, indent=1))
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):  # where whoever reads, such as `head`, has seen enough, this ends
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
