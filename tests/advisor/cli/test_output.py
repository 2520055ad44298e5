"""What commands print, and which command was typed."""

import ast
import json
import sys

import pytest
from support import ROOT

import advisor as package
from advisor.cli.output import print_json, typed_command


def test_json_is_strict_and_has_a_version(capsys):
    """NaN is no JSON; letters stay as they are."""
    print_json({"name": "café"})
    out = capsys.readouterr().out
    assert "café" in out
    assert json.loads(out) == {"version": 1, "name": "café"}
    with pytest.raises(ValueError, match="JSON"):
        print_json({"score": float("nan")})


def test_the_typed_command_can_be_pasted_into_a_shell(monkeypatch):
    """It is quoted where a shell needs it."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/advisor", "recommend", "my photos", "--seed", "1"])
    assert typed_command() == "advisor recommend 'my photos' --seed 1"


def test_a_library_call_writes_no_command_unless_it_is_given(photos, pretrained_weights, tmp_path, monkeypatch):
    """Whatever the process was started with: Python code that runs inside a command is not that command."""
    monkeypatch.setattr(sys, "argv", ["advisor", "recommend", "photos"])
    advice = package.recommend(photos, backbone="MobileNetV2-0.35", image_size=32)
    advice.save(tmp_path / "none")
    advice.save(tmp_path / "given", command="advisor recommend elsewhere")
    commands = [
        json.loads((tmp_path / name / "fingerprint.json").read_text()).get("command") for name in ("none", "given")
    ]
    assert commands == [None, "advisor recommend elsewhere"]
    for name, found in (("none", False), ("given", True)):
        assert ("advisor recommend elsewhere" in (tmp_path / name / "report.html").read_text()) == found


def test_only_the_command_line_reads_the_arguments_of_the_process():
    """`sys.argv` belongs to programs: the commands, and the process that checks an export."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for name in ("advisor", "strategies")
        for path in (ROOT / name).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "argv"
    }
    assert readers == {"advisor/cli/output.py", "strategies/runs/runtimes.py"}
