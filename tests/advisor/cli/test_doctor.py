"""The command `doctor`."""

import json
import os
import subprocess
import sys

import pytest
from support import ROOT


def test_it_shows_what_is_here(advisor, pretrained_weights):
    """For people, in one line, and as JSON with every check."""
    code, out, _ = advisor("doctor")
    assert code == 0
    assert all(name in out for name in ("Python", "keras", "training", "frozen passes", "cache", "weights"))
    assert out.startswith(line := advisor("doctor", "--quiet")[1])
    assert line.startswith("Ready.")
    found = json.loads(advisor("doctor", "--json")[1])["doctor"]
    assert found["ready"]
    assert found["training"]["devices"] == ["cpu:0"]
    assert found["packages"]["keras"]
    assert os.path.isfile(found["weights"]["available"]["MobileNetV2-0.35"])
    assert found["cache"]["folder"] == os.environ["ADVISOR_CACHE"]


@pytest.mark.parametrize(
    ("settings", "failed"),
    [
        ({"KERAS_BACKEND": "nothing", "ADVISOR_CACHE_BYTES": "many"}, {"training", "cache"}),
        ({"PYTHONPATH": "broken"}, {"training", "engine", "cache", "weights"}),
    ],
    ids=["settings", "numpy"],
)
def test_what_is_broken_is_named_and_the_rest_is_shown(settings, failed, tmp_path):
    """A backend that is none, a number that is none, and a NumPy that cannot be imported; the exit code is 1."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "numpy.py").write_text("raise ImportError('numpy is broken')")
    settings = {name: value.replace("broken", str(tmp_path / "broken")) for name, value in settings.items()}
    paths = os.pathsep.join(filter(None, [settings.pop("PYTHONPATH", ""), str(ROOT)]))
    command = [sys.executable, "-m", "advisor", "doctor", "--json"]
    environment = os.environ | settings | {"PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)["doctor"]
    assert not found["ready"]
    assert set(found["failed"]) == failed
    assert all(found[name] is None for name in failed)
    assert found["packages"]["keras"]
