"""The parts of the reference that are written from the code, so that they cannot differ from it."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path


def write(folder: Path) -> None:
    """Writes every generated part into a folder that Git ignores."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "commands": commands(),
        "advisor": public_names("advisor"),
        "strategies": public_names("strategies"),
        "backbones": backbones(),
    }
    for name, text in parts.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def public_names(package: str) -> str:
    """Returns a section for every name in `__all__` of a package; its text is the docstring."""
    module, text = importlib.import_module(package), ""
    for name in module.__all__:
        if name == "__version__":
            continue
        value, path = getattr(module, name), f"{package}.{name}"
        text += f"### {name}\n\n"
        if inspect.isclass(value):
            text += f"```{{eval-rst}}\n.. autoclass:: {path}\n```\n\n"
            for base in _bases_without_section(value, module.__all__):
                path = f"{base.__module__}.{base.__name__}"
                text += f"`{name}` inherits:\n\n```{{eval-rst}}\n.. autoclass:: {path}\n```\n\n"
        elif callable(value):
            text += f"```{{eval-rst}}\n.. autofunction:: {path}\n```\n\n"
        else:
            kind = type(next(iter(value.values()))).__name__
            text += f"`{path}` maps the name of each row to a `{kind}`: {', '.join(f'`{row}`' for row in value)}.\n\n"
    return text


def _bases_without_section(value: type, names: list[str]) -> list[type]:
    """Returns the bases of a public class that are our own, but have no section of their own."""
    ours = [base for base in value.__mro__[1:] if base.__module__.split(".")[0] in ("advisor", "strategies")]
    return [base for base in ours if base.__name__ not in names]


def commands() -> str:
    """Returns a section for every command: what it does, its arguments and its options."""
    text = ""
    for name, command in _commands():
        text += f"## advisor {name}\n\n{_plain(command.help)}\n\n"
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        for title, parameters in (("Argument", arguments), ("Option", options)):
            if parameters:
                text += f"| {title} | Meaning |\n|---|---|\n"
                text += (
                    "".join(f"| {_written(parameter)} | {_meaning(parameter)} |\n" for parameter in parameters) + "\n"
                )
    return text


def _commands() -> Iterator[tuple[str, object]]:
    import typer

    from advisor import cli

    yield from typer.main.get_command(cli.app).commands.items()


def _written(parameter) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}{' ...' if parameter.nargs == -1 else ''}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _meaning(parameter) -> str:
    text = _plain(parameter.help)
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    if parameter.multiple or (parameter.param_type_name == "argument" and parameter.nargs == -1):
        text += " May be given several times."
    if parameter.default not in (None, False, [], ()) and not parameter.required and not parameter.secondary_opts:
        text += f" Default: `{parameter.default}`."
    return text


def _plain(text: str | None) -> str:
    """Returns help in Markdown: its own characters are text."""
    text = inspect.cleandoc(text or "")
    text = "".join(f"\\{letter}" if letter in "|*_`<>" else letter for letter in text)
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", lambda option: f"`{option[0]}`", text)


def backbones() -> str:
    """Returns the table of pretrained networks."""
    from strategies import BACKBONES

    text = "| Backbone | Input size | Weights | ImageNet | Stages |\n|---|---|---|---|---|\n"
    for name, row in BACKBONES.items():
        stages = ", ".join(stage.name for stage in row.stages)
        top1 = "" if row.top1 is None else f"{row.top1:.1f}%"
        text += f"| `{name}` | {row.image_size} px | {row.parameters / 1e6:.1f} M | {top1} | {stages} |\n"
    return text
