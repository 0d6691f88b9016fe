"""Folders, presets and atomic writing."""

import pytest

from helpers import paths, tags


def test_the_preset_is_demo_unless_another_known_one_is_named(monkeypatch):
    monkeypatch.delenv("CRNN_PRESET", raising=False)
    assert paths.preset() == "demo"
    monkeypatch.setenv("CRNN_PRESET", "paper")
    assert paths.preset() == "paper"
    monkeypatch.setenv("CRNN_PRESET", "papr")
    with pytest.raises(ValueError, match="'papr'; use 'demo', 'paper' or 'test'"):
        paths.preset()


def test_data_is_the_demo_set_unless_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CRNN_DATA", raising=False)
    assert paths.data_folder() == paths.DEMO
    monkeypatch.setenv("CRNN_DATA", str(tmp_path))
    assert paths.data_folder() == tmp_path
    assert paths.provenance(tmp_path) == {"dataset": tmp_path.name, "synthetic": False}
    inside = tmp_path / "demo" / "audio"
    inside.mkdir(parents=True)
    for folder in (inside, inside.parent):
        (folder / paths.DEMO_MARKER).touch()
    assert paths.provenance(inside) == {"dataset": "demo", "synthetic": True}
    monkeypatch.setenv("CRNN_DATA", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="absent"):
        paths.data_folder()


def test_atomic_shows_the_old_file_or_the_whole_new_one(tmp_path):
    target = tmp_path / "sub" / "file.txt"
    with paths.atomic(target) as temporary:
        temporary.write_text("old")
        assert not target.exists() and temporary.suffix == ".txt"
    with pytest.raises(KeyboardInterrupt), paths.atomic(target) as temporary:
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(target.parent.iterdir()) == [target]


def test_atomic_files_have_the_permissions_of_ordinary_ones(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with paths.atomic(tmp_path / "ours") as temporary:
        temporary.write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_vocabularies_have_fifty_different_tags_in_the_stated_order():
    for vocabulary in (tags.MASON_TOP50, tags.CHOI_TOP50):
        assert len(vocabulary) == len(set(vocabulary)) == 50 and vocabulary[:2] == ["rock", "pop"]
    assert tags.MASON_TOP50[-3:] == ["easy listening", "sexy", "catchy"] and tags.MASON_TOP50[13] == "singer-songwriter"
    assert tags.CHOI_TOP50[-3:] == ["sad", "House", "happy"] and tags.CHOI_TOP50[10] == "beautiful"


def test_choi_s_tags_have_one_category_each_and_those_the_paper_names():
    given = {"rock": "genre", "pop": "genre", "sad": "mood", "happy": "mood", "female vocalist": "instrument"}
    given |= {"guitar": "instrument"} | dict.fromkeys(("60s", "70s", "80s", "90s", "00s"), "era")
    assert sorted(tags.CHOI_CATEGORIES) == sorted(tags.CHOI_TOP50)
    assert list(dict.fromkeys(tags.CHOI_CATEGORIES.values())) == ["genre", "mood", "instrument", "era"]
    assert {tag: tags.CHOI_CATEGORIES[tag] for tag in given} == given


def test_top_tags_counts_songs_and_breaks_ties_by_name():
    import pandas as pd

    table = pd.DataFrame({"tags": [[("b", 100), ("b", 1), ("a", 3)], [("c", 5), ("b", 0)], [("c", 1), ("a", 1)], []]})
    assert tags.top_tags(table, 2) == ["a", "b"] and tags.top_tags(table, 3) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="3 different tags"):
        tags.top_tags(table, 4)


def test_mason_s_list_is_the_reference_s(real_data):
    reference = real_data.parent / "reference" / "mason_top50_lastfm_tags.csv"
    if not reference.is_file():
        pytest.skip(f"no {reference.name} beside the real data")
    rows = reference.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [row.split(",")[1] for row in rows] == tags.MASON_TOP50
