"""Jobs that run in a background process."""

import os
import sys
from functools import partial

import numpy as np
import pytest

from strategies.features import background
from strategies.features.background import BackgroundJob, start_jobs
from strategies.features.cache import SUFFIX, FeatureCache
from strategies.processes import start_python


@pytest.fixture
def cache(tmp_path):
    """An empty cache."""
    return FeatureCache(tmp_path / "cache", 2**20)


def test_the_arrays_of_a_job_are_cached(cache):
    """A background process computes them; the second time they are read."""
    job = BackgroundJob(key="0" * 64, cache=cache, make=partial(np.full, (2,), 7))
    arrays, new = job.arrays()
    assert (np.array(arrays) == 7).all()
    assert new
    again, new = job.arrays()
    assert (np.array(again) == 7).all()
    assert not new


def test_several_jobs_run_in_one_process(cache, monkeypatch):
    """A job that fails says why and does not stop the others."""
    started = []
    monkeypatch.setattr(
        background, "start_python", lambda *args, **kwargs: started.append(1) or start_python(*args, **kwargs)
    )
    good = BackgroundJob(key="1" * 64, cache=cache, make=partial(np.ones, (1, 2)))
    bad = BackgroundJob(key="2" * 64, cache=cache, make=partial(np.ones, -1))
    last = BackgroundJob(key="3" * 64, cache=cache, make=partial(np.zeros, (1, 2)))
    start_jobs(good, None, bad, last)
    start_jobs(last, good)
    assert last.arrays()[0][0].tolist() == [0, 0]
    assert good.arrays()[0][0].tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="negative dimensions"):
        bad.arrays()
    assert started == [1]
    assert not cache.holds(bad.key)


def test_the_reason_is_given_where_a_process_dies(cache):
    """The reason is the last line that it printed, or its exit code."""
    with pytest.raises(RuntimeError, match="exit code 7"):
        BackgroundJob(key="4" * 64, cache=cache, make=partial(os._exit, 7)).arrays()
    with pytest.raises(RuntimeError, match="No such file"):
        BackgroundJob(key="5" * 64, cache=cache, make=partial(open, "/nowhere/at/all")).arrays()


def test_a_process_that_cannot_be_started_is_reported(cache, monkeypatch):
    """Such as an interpreter that does not exist."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RuntimeError, match="No such file"):
        BackgroundJob(key="6" * 64, cache=cache, make=partial(np.ones, 1)).arrays()


def test_a_job_can_run_in_this_process(cache, monkeypatch):
    """Where OpenVINO is not installed."""
    monkeypatch.setattr(background, "_run_in_process", None)
    calls = []
    job = BackgroundJob(key="7" * 64, cache=cache, make=lambda: calls.append(1) or [np.ones(1)], in_process=True)
    start_jobs(job)
    assert job.arrays()[1]
    assert not job.arrays()[1]
    assert calls == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_an_entry_that_cannot_be_read_is_made_again(cache):
    """The job runs, although there is a file of the name of its entry."""
    cache.folder.mkdir()
    os.mkfifo(cache.folder / f"{'8' * 64}{SUFFIX}")
    job = BackgroundJob(key="8" * 64, cache=cache, make=partial(np.ones, (1, 2)))
    start_jobs(job)
    assert job.arrays()[0][0].tolist() == [1, 1]
    assert not job.arrays()[1]
