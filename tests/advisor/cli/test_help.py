"""What every command line tool offers: help in 80 columns, the version, and completion in a shell."""

import pytest

import advisor as package
from advisor.cli import COMMANDS


@pytest.mark.parametrize("command", ["", *(command.__name__.replace("_", "-") for command in COMMANDS)])
def test_the_help_names_values_in_capitals_and_fits_into_80_columns(command, advisor, monkeypatch):
    """No type of Python, no braces, and no flag beside its opposite; `-h` and `--help` give the same."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = advisor(*filter(None, [command]), "-h")
    assert (code, err) == (0, "")
    assert out == advisor(*filter(None, [command]), "--help")[1]
    assert max(map(len, out.splitlines())) <= 80
    assert not set("{}<>") & set(out)
    assert not {"--no-overwrite", "--cache"} & set(out.split())
    assert f"Usage: advisor {command}".rstrip() in out


def test_no_command_prints_the_help(advisor):
    """As most tools do."""
    assert advisor()[1].strip() == advisor("--help")[1].strip()


def test_the_version_is_printed(advisor):
    """Name and version, whatever else is typed."""
    assert advisor("--version", "recommend")[:2] == (0, f"advisor {package.__version__}\n")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("pre", "predict"),
        ("recommend photos --prefer ba", "balanced"),
        ("recommend photos --recipe head", "head_only"),
        ("train photos --backbone Xc", "Xception"),
        ("export run --format on", "onnx"),
    ],
)
def test_names_are_completed_in_a_shell(typed, offered, advisor, monkeypatch):
    """Commands, and the names that options take."""
    monkeypatch.setenv("_ADVISOR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"advisor {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    code, out, _ = advisor()
    assert (code, out.split()) == (0, [offered])
