"""The command `doctor`."""

import json
import os
import subprocess
import sys


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


def test_what_is_broken_is_named_and_the_rest_is_shown():
    """A backend that cannot be imported, and a setting that is none, each in its row; the exit code is 1."""
    environment = os.environ | {"KERAS_BACKEND": "nothing", "ADVISOR_CACHE_BYTES": "many"}
    command = [sys.executable, "-m", "advisor", "doctor", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    found = json.loads(done.stdout)["doctor"]
    assert not found["ready"]
    assert set(found["failed"]) == {"training", "cache"}
    assert "KERAS_BACKEND" in found["failed"]["training"]
    assert found["training"] is found["cache"] is None
    assert found["packages"]["keras"]
