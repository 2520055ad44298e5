"""Options that commands share: one definition each, whatever the command."""

import inspect
import sys
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, get_type_hints

import pytest
import typer

from advisor.cli import COMMANDS, app
from advisor.cli.options import ImageOptions, NetworkOptions, OutputOptions, column_names, with_options
from strategies.display.progress import note
from strategies.errors import UserError

CLICK = typer.main.get_command(app).commands
# Options that mean something else in a command than elsewhere: that of a plan is their default, or they name a file.
OWN = {
    "train": {"backbone", "weights", "seed", "out"},
    "extend": {"out"},
    "check": {"out"},
    "compare": {"out"},
    "predict": {"out"},
    "export": {"out"},
}


def _groups(command):
    """The groups of options that a command takes."""
    original = inspect.unwrap(command)
    return [kind for kind in get_type_hints(original).values() if is_dataclass(kind)]


def _command(command):
    return CLICK[command.__name__.replace("_", "-")]


def _options(command):
    return {parameter.name: parameter for parameter in _command(command).params}


@pytest.mark.parametrize("command", COMMANDS, ids=[command.__name__ for command in COMMANDS])
def test_a_command_has_every_option_of_its_groups(command):
    """One for each field, with the default and the help of the field."""
    options = _options(command)
    for group in _groups(command):
        hints = get_type_hints(group, include_extras=True)
        for item in fields(group):
            option = options[item.name]
            assert option.help == hints[item.name].__metadata__[0].help
            assert option.required == (item.default is MISSING)
            assert item.default is MISSING or option.default == item.default


@pytest.mark.parametrize("command", COMMANDS, ids=[command.__name__ for command in COMMANDS])
def test_commands_that_read_images_take_the_same_options_for_them(command):
    """A class folder, a table or an archive can be given wherever a dataset is asked for."""
    groups, options = _groups(command), _options(command)
    reads = any(issubclass(group, ImageOptions) for group in groups)
    if command.__name__ != "export":  # it needs no labels
        assert ("data" in options) == reads
    if reads:
        assert OutputOptions in groups
    if command.__name__ not in OWN or "backbone" not in OWN[command.__name__]:
        assert ("backbone" in options) == (NetworkOptions in groups)


def test_an_option_means_the_same_in_every_command():
    """Each name has one help text, but for those that are known to differ."""
    texts = {}
    for command in COMMANDS:
        for name, option in _options(command).items():
            if option.param_type_name == "option" and name not in OWN.get(command.__name__, ()):
                texts.setdefault(name, set()).add(option.help)
    assert {name: found for name, found in texts.items() if len(found) > 1} == {}


@pytest.mark.parametrize("command", COMMANDS, ids=[command.__name__ for command in COMMANDS])
def test_every_command_and_option_is_explained(command):
    """Sentences, and none too long for a terminal of 80 columns."""
    help_ = _command(command).help
    assert len(help_.splitlines()[0]) < 120
    assert help_.splitlines()[0].endswith(".")
    for option in _options(command).values():
        if option.name != "help":
            assert option.help.endswith((".", '"')), option.name
            assert option.help[0].isupper() or option.help[0] == "'", option.name


def test_a_group_of_options_reaches_the_command_as_a_value(capsys):
    """Fields become options, in their place among the others; the command gets the group back."""

    @dataclass(frozen=True, kw_only=True)
    class Size:
        """A group."""

        width: Annotated[int, typer.Option(help="Width.")]
        height: Annotated[int, typer.Option(help="Height.")] = 2

    @with_options
    def area(size: Size, unit: Annotated[str, typer.Option(help="Unit.")] = "px", *, output: OutputOptions) -> None:
        """Print an area."""
        print(size.width * size.height, unit, output.quiet)

    assert list(inspect.signature(area).parameters) == ["width", "height", "unit", "quiet", "as_json"]
    area(width=3, height=2, unit="m", as_json=False, quiet=True)
    assert capsys.readouterr().out == "6 m True\n"


def test_every_command_with_a_result_takes_quiet_and_json():
    """A script is no JSON, and the demo is to be looked at."""
    for command in COMMANDS:
        flags = {name for option in _options(command).values() for name in option.opts}
        wanted = {"demo": set(), "script": {"--quiet"}}.get(command.__name__, {"--quiet", "--json"})
        assert flags & {"--quiet", "--json"} == wanted, command.__name__


def test_the_share_of_unreadable_files_is_a_share(advisor, photos):
    """Anything else gets a sentence."""
    for wrong in ("-0.1", "5"):
        code, out, err = advisor("profile", photos, "--max-unreadable", wrong)
        assert (code, out) == (2, "")
        assert "from 0 to 1" in err


def test_images_are_augmented_and_resized_as_asked_or_the_option_is_refused(advisor, photos, small_run, tmp_path):
    """A wrong name, and a plan that says otherwise, get a sentence before any image is read."""
    for command in (["recommend", photos], ["train", photos, "--out", tmp_path / "run"]):
        code, _, err = advisor(*command, "--augment", "flips")
        assert code == 2
        assert "Did you mean 'flip'" in err
        code, _, err = advisor(*command, "--resize", "cropped")
        assert code == 2
        assert "Did you mean 'crop'" in err
    plan = small_run[0] / "plan.json"
    for option in (["--augment", "none"], ["--resize", "pad"]):
        code, _, err = advisor("train", photos, "--plan", plan, "--out", tmp_path / "run", *option)
        assert code == 2
        assert f"Expected a plan for {' '.join(option)}" in err
    assert not (tmp_path / "run").exists()


def test_quiet_silences_notes_and_leaves_stderr_as_it_was(advisor, photos, capsys, monkeypatch):
    """Only inside the command: the same stream is there afterwards, and notes appear again."""
    seen = []

    def load(*_, **__):
        seen.append(sys.stderr)
        note("on the way")
        raise UserError("Expected an end. Received: this. Look above.")

    for options, said in (((), "on the way"), (("--quiet",), "")):
        before = sys.stderr
        monkeypatch.setattr("advisor.measure.profile.load_dataset", load)
        code, out, err = advisor("profile", photos, *options)
        assert (code, out) == (2, "")
        assert ("on the way" in err) == bool(said)
        assert "Look above" in err
        assert sys.stderr is before is seen[-1]
    note("afterwards")
    assert "afterwards" in capsys.readouterr().err


def test_quiet_prints_the_result_in_one_line(advisor, photos):
    """And nothing to stderr."""
    code, out, err = advisor("profile", photos, "--quiet")
    assert (code, err) == (0, "")
    assert out.strip().splitlines() == [f"{photos}: 40 images in 2 classes"]


def test_columns_are_named_one_by_one():
    """`--column label=species` is the argument `label_column`; anything else is refused."""
    assert column_names(["label=species", "path=file=name"]) == {"label_column": "species", "path_column": "file=name"}
    assert column_names(None) == {}
    for wrong in ("species", "label=", "=species", "kind=species"):
        with pytest.raises(UserError, match="--column label=species"):
            column_names([wrong])
