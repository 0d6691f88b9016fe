"""Peak memory of training on features larger than memory: `streaming.Rows` against reading the file first.

    python benchmarks/streaming.py [GB]     20 by default

The file is sparse: it has the size and the chunks of so many clips, but was never filled, so it takes no disk space.
The network is tiny, so that an epoch is over in minutes; what is measured is everything around it. Each side runs in a
process of its own. The naive one, which reads all clips first, gets a tenth of the file, and so still runs on a laptop.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SHAPE, NUM_TAGS = (96, 1366), 50
CLIP_BYTES = 4 * SHAPE[0] * SHAPE[1]


def write(path: Path, gigabytes: float) -> None:
    """Write a sparse feature file of that size, laid out as `audio.extract` does."""
    import h5py
    import numpy as np

    num_clips = int(gigabytes * 2**30 / CLIP_BYTES)
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.create_dataset("mel", (num_clips, *SHAPE), "float32", chunks=(1, *SHAPE), fillvalue=-50)
        file["ids"] = [f"{i}.flac" for i in range(num_clips)]
        file["labels"] = (rng.random((num_clips, NUM_TAGS)) < 0.1).astype("uint8")
        file["tags"] = [f"tag {i}" for i in range(NUM_TAGS)]


def train(path: Path, read_first: bool) -> None:
    """Train one epoch on 95 % of the clips, score all, and print seconds, clips and peak memory in GB."""
    import keras
    import numpy as np

    from helpers import splits, streaming, training

    def build():
        inputs = keras.Input((*SHAPE, 1))
        x = keras.layers.AveragePooling2D((96, 683))(inputs)
        return keras.Model(inputs, keras.layers.Dense(NUM_TAGS, activation="sigmoid")(keras.layers.Flatten()(x)))

    start = time.perf_counter()
    x, y = streaming.Rows([path], "mel"), streaming.labels([path]).to_numpy("float32")
    parts = [(x.take(part), y[part]) for part in splits.last(len(x), 0.05)]
    if read_first:
        parts = [(rows[:], labels) for rows, labels in parts]
    with tempfile.TemporaryDirectory() as folder:
        _, history = training.fit(build, *parts, "streaming", num_epochs=1, batch_size=32, folder=Path(folder))
    assert np.isfinite(history["loss"]).all() and len(history) == 2
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes on macOS, kB on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(f"{time.perf_counter() - start:.0f} {len(x)} {peak:.2f}")


def measure(path: Path, side: str) -> tuple[float, float, float]:
    """Run one side in its own process; return its seconds, clips and peak memory in GB."""
    done = subprocess.run([sys.executable, __file__, side, path], capture_output=True, text=True, check=True)
    return tuple(float(number) for number in done.stdout.split()[-3:])


def main(gigabytes: float) -> None:
    """Measure both sides and print one line each."""
    with tempfile.TemporaryDirectory() as folder:
        for side, size in (("streamed", gigabytes), ("read first", gigabytes / 10)):
            path = Path(folder) / f"{side}.h5"
            write(path, size)
            seconds, clips, peak = measure(path, side)
            print(
                f"{side:10} {size:5.1f} GB, {clips:6.0f} clips: {seconds:4.0f} s, peak memory {peak:5.2f} GB",
                flush=True,
            )
            print(f"{'':10} peak memory / features: {peak / size:.2f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        train(Path(sys.argv[2]), read_first=sys.argv[1] == "read first")
    else:
        main(float(sys.argv[1]) if len(sys.argv) == 2 else 20.0)
