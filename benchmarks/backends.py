"""One training step on every backend that is installed: the same Keras code, seconds for 1,000 songs or clips.

    python benchmarks/backends.py

Each backend gets a process of its own. The ratio is to TensorFlow, the default.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
NETWORKS = {  # what is built, and the songs or clips in a step
    "Mason small, 252": ('models.mason_crnn("small", 252)', 10),
    "Mason large, 252": ('models.mason_crnn("large", 252)', 10),
    "Choi k2c1, 0.1M": ('models.choi_network("k2c1", "0.1M")', 8),
    "Choi CRNN, 0.1M": ('models.choi_network("crnn", "0.1M")', 8),
}
CODE = """
import timeit
import numpy as np
from helpers import models, training
model, size = {build}, {batch_size}
model.compile("adam", "binary_crossentropy")
x, y = (np.ones((size, *shape[1:]), np.float32) for shape in (model.input_shape, model.output_shape))
# `train_on_batch` returns the loss as a number, so it waits for a GPU to finish. The first step compiles.
seconds = timeit.repeat(lambda: model.train_on_batch(x, y), number=1, repeat=6)
print(training.hardware(), 1000 * min(seconds[1:]) / size, sep="|")
"""


def main() -> None:
    """Measure every network on every backend and print a table."""
    backends = [name for name in ("tensorflow", "jax", "torch") if find_spec(name)]
    hardware = ""
    for name, (build, batch_size) in NETWORKS.items():
        seconds = {}
        for backend in backends:
            environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
            code = CODE.format(build=build, batch_size=batch_size)
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            hardware, value = done.stdout.strip().splitlines()[-1].split("|")
            seconds[backend] = float(value)
        print(
            f"{name:17}", *(f"{b} {s:6.1f} s ({s / seconds[backends[0]]:.2f}x)" for b, s in seconds.items()), sep="  "
        )
    print(f"seconds for 1,000 songs or clips on {hardware}")


if __name__ == "__main__":
    main()
