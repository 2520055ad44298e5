"""What another process makes."""

import os
import sys
from functools import partial

import numpy as np
import pytest

from strategies.features import background as aside
from strategies.features.background import BackgroundJob, prepare
from strategies.features.cache import FeatureCache


@pytest.fixture
def cache(tmp_path):
    """An empty cache."""
    return FeatureCache(tmp_path / "cache", 2**20)


def test_what_is_made_aside_is_kept(cache):
    """The second time it is read; the process that made it was another one."""
    one = BackgroundJob(key="0" * 64, cache=cache, make=partial(np.full, (2,), 7))
    arrays, new = one.arrays()
    assert (np.array(arrays) == 7).all()
    assert new
    again, new = one.arrays()
    assert (np.array(again) == 7).all()
    assert not new


def test_several_things_are_made_by_one_process(cache, monkeypatch):
    """One that fails does not keep the others from being made, and says why."""
    started = []
    monkeypatch.setattr(
        aside.subprocess,
        "Popen",
        lambda *args, _popen=aside.subprocess.Popen, **kwargs: started.append(1) or _popen(*args, **kwargs),
    )
    good = BackgroundJob(key="1" * 64, cache=cache, make=partial(np.ones, (1, 2)))
    bad = BackgroundJob(key="2" * 64, cache=cache, make=partial(np.ones, -1))
    last = BackgroundJob(key="3" * 64, cache=cache, make=partial(np.zeros, (1, 2)))
    prepare(good, None, bad, last)
    prepare(last, good)
    assert last.arrays()[0][0].tolist() == [0, 0]
    assert good.arrays()[0][0].tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="negative dimensions"):
        bad.arrays()
    assert started == [1]
    assert not cache.holds(bad.key)


def test_a_process_that_dies_is_no_silence(cache):
    """Its last words, or its exit code, are the reason."""
    with pytest.raises(RuntimeError, match="exit code 7"):
        BackgroundJob(key="4" * 64, cache=cache, make=partial(os._exit, 7)).arrays()
    with pytest.raises(RuntimeError, match="No such file"):
        BackgroundJob(key="5" * 64, cache=cache, make=partial(open, "/nowhere/at/all")).arrays()


def test_what_cannot_be_started_is_said(cache, monkeypatch):
    """An interpreter that is not there, for one."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RuntimeError, match="No such file"):
        BackgroundJob(key="6" * 64, cache=cache, make=partial(np.ones, 1)).arrays()


def test_this_process_makes_it_where_it_is_told_to(cache, monkeypatch):
    """Where there is no OpenVINO."""
    monkeypatch.setattr(aside, "_make_aside", None)
    made = []
    one = BackgroundJob(key="7" * 64, cache=cache, make=lambda: made.append(1) or [np.ones(1)], here=True)
    prepare(one)
    assert one.arrays()[1]
    assert not one.arrays()[1]
    assert made == [1]
