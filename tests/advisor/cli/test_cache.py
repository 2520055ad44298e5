"""The command `cache`."""

import json

import numpy as np

from strategies.features.cache import default_cache, make_key


def test_it_shows_what_is_kept_and_clears_it(advisor, tmp_path, monkeypatch):
    """Only its own files are removed."""
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / "cache"))
    assert json.loads(advisor("cache", "--json")[1])["cache"]["entries"] == 0
    for number in range(3):
        default_cache().store(make_key(number=number), [np.ones(1000)])
    (tmp_path / "cache" / "mine.txt").write_text("mine")
    found = json.loads(advisor("cache", "--json")[1])["cache"]
    assert (found["entries"], found["removed"], found["folder"]) == (3, 0, str(tmp_path / "cache"))
    assert found["bytes"] > 3 * 8000
    code, out, _ = advisor("cache", "--clear")
    assert code == 0
    assert "3 entries" in out
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mine.txt"]
    assert default_cache().num_entries() == 0
