"""What notebook 11 does to clips: as much as the name says, and no sample more or fewer."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from helpers import audio, paths

CELLS = nbformat.read(paths.ROOT / "notebooks" / "11_your_own_tags.ipynb", as_version=4).cells
NAMES = {"np": np, "Path": Path, "audio": audio}
exec(next(cell.source for cell in CELLS if "CHANGES = " in cell.source), NAMES)
CHANGES = NAMES["CHANGES"]
TIME = np.arange(audio.NUM_SAMPLES) / audio.SR
CLIP = (0.3 * np.sin(2 * np.pi * 440 * TIME) * np.sin(np.pi * TIME) ** 2).astype(np.float32)  # a swell a second


def strongest(clip):
    return np.abs(np.fft.rfft(clip)).argmax() * audio.SR / len(clip)


@pytest.mark.parametrize("db", [20, 40])
def test_noise_has_the_power_that_is_said(db):
    added = CHANGES[f"noise, {db} dB below"](CLIP) - CLIP
    assert 20 * np.log10(CLIP.std() / added.std()) == pytest.approx(db, abs=0.1)


def test_the_mp3_file_has_32_kbit_a_second(monkeypatch):
    sizes, load = [], audio.load_clip
    monkeypatch.setattr(audio, "load_clip", lambda file: sizes.append(file.stat().st_size) or load(file))
    changed = CHANGES["MP3, 32 kbit/s"](CLIP)
    assert 8 * sizes[0] / 1000 / 29.12 == pytest.approx(32, abs=0.5)
    assert changed.std() == pytest.approx(0.95 * CLIP.std(), rel=0.01)  # at this rate LAME turns the level down


def test_pitch_goes_up_a_semitone_tempo_leaves_it_and_no_change_the_length():
    for changed in (change(CLIP) for change in CHANGES.values()):
        assert changed.shape == CLIP.shape and np.isfinite(changed).all() and not np.array_equal(changed, CLIP)
    assert strongest(CHANGES["a semitone higher"](CLIP)) == pytest.approx(440 * 2 ** (1 / 12), rel=0.005)
    slower = CHANGES["5 % slower"](CLIP)
    assert strongest(slower) == pytest.approx(440, rel=0.005)
    envelope = np.abs(np.fft.rfft(np.abs(slower)))[10:60]  # 1 / 1.05 swells a second
    assert (10 + envelope.argmax()) / 29.12 == pytest.approx(1 / 1.05, abs=0.02)
