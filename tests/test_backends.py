"""JAX and PyTorch (`make test-backends` installs JAX): the networks' answers, and training.

Each in a process of its own, because Keras chooses its backend when it is imported.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import test_choi

from helpers import paths

CODE = """
import functools, sys, numpy as np
from pathlib import Path
from helpers import models, pretrained, training
rng, folder = np.random.default_rng(0), Path(sys.argv[1])

def scores(model, x):
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([rng.normal(0, 0.2, s) if len(s) > 1 else np.full(s, 0.7) for s in shapes])
    return model.predict(x, verbose=0)

clips = rng.normal(0, 1, (2, 96, 1366, 1)).astype("float32")
found = [scores(models.choi_network(name, "0.1M"), clips) for name in ("k1c2", "k2c1", "k2c2", "crnn")]
found.append(pretrained.choi_crnn_2016(sys.argv[2]).predict(clips, verbose=0))
songs, mason = rng.random((2, 12, 48, 1), dtype="float32"), models.mason_crnn("small", 48)
found.append(scores(mason, songs))
np.save(folder / "scores.npy", np.concatenate([f.ravel() for f in found]))
y = (rng.random((41, 3)) < 0.5).astype("float32")
x = rng.random((41, 12, 24, 1), dtype="float32")
x[:, :3] *= y[:, :, None, None]  # three pitch classes that say which tags a song has
build = functools.partial(models.mason_crnn, "small", 24, 3)
settings = dict(batch_size=4, learning_rate=5e-3, patience=6, folder=folder)
(_, history), (_, again) = (training.fit(build, (x[:32], y[:32]), (x[32:], y[32:]), "r", 6, **settings) for _ in "12")
assert again["seconds"].tolist() == history["seconds"].tolist(), "a finished run is loaded"
print(*history["loss"][::2])
"""


def run(backend, folder):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; see make test-backends")
    folder.mkdir()
    command = [sys.executable, "-c", CODE, folder, test_choi.write_weights(folder / "weights.h5")]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(folder / "scores.npy"), [float(loss) for loss in done.stdout.split()[-6:]]


@pytest.fixture(scope="module")
def tensorflow(tmp_path_factory):
    return run("tensorflow", tmp_path_factory.mktemp("backends") / "tensorflow")


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_networks_give_the_same_answers_and_learn_and_a_finished_run_is_loaded(backend, tensorflow, tmp_path):
    scores, losses = tensorflow if backend == "tensorflow" else run(backend, tmp_path / backend)
    np.testing.assert_allclose(scores, tensorflow[0], atol=1e-4)
    assert losses[-1] < 0.9 * losses[0], losses
