"""Processes that are started: they run no code from the current folder, and they end with their parent."""

import os
import subprocess
import sys
from subprocess import DEVNULL, PIPE

import pytest
from support import ROOT

from strategies.processes import start_python


def _run(code, *arguments):
    with start_python(code, *arguments, stdout=PIPE, stderr=DEVNULL) as child:
        return child.communicate()[0].decode()


@pytest.mark.parametrize("entry", ["", ".", "{here}", "{here}/", "{here}/../here", "/nowhere{sep}part", "part"])
def test_modules_of_the_current_folder_are_not_found(entry, tmp_path, monkeypatch):
    """Whatever way the current folder got into the search path of this process, and from there or from PYTHONPATH."""
    here = tmp_path / "here"
    for folder in (here, here / "part"):
        folder.mkdir()
        for name in ("planted", "sitecustomize", "usercustomize"):
            (folder / f"{name}.py").write_text("open('mark', 'w').close()")
    monkeypatch.chdir(here)
    entry = entry.format(here=here, sep=os.pathsep)
    monkeypatch.setattr(sys, "path", [entry, *sys.path, entry])
    monkeypatch.setenv("PYTHONPATH", entry)
    code = "from importlib.util import find_spec as find; print(find('planted'), find('numpy') is not None)"
    assert _run(code).split() == ["None", "True"]
    assert not (here / "mark").exists()


def test_modules_are_found_where_this_process_finds_them(tmp_path, monkeypatch):
    """Also in folders that were added to the search path; relative paths are those of this process."""
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "lately.py").write_text("print('found')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "added"), *sys.path])
    assert _run("import lately, os, sys; print(os.path.exists('added'), sys.argv[1:])", "a b", 1).split("\n")[:2] == [
        "found",
        "True ['a b', '1']",
    ]


PARENT = """
import sys
from subprocess import PIPE
from strategies.processes import start_python

code = "from strategies.processes import end_with_parent; end_with_parent(); print('up', flush=True); import time; "
child = start_python(code + "time.sleep(600)", stdout=sys.stdout.fileno(), stderr=PIPE)
child.wait()
"""


def test_a_process_ends_with_its_parent():
    """Also if the parent is killed: the output that both hold comes to its end."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=PIPE, cwd=ROOT) as parent:
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        assert parent.stdout.read() == b""
