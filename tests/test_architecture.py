"""The lines of the design that must hold: one direction, and imports that cost nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"tensorflow", "keras", "sklearn", "pandas", "torch", "jax", "matplotlib", "pyarrow", "fsspec", "datasets"}


@pytest.mark.parametrize(
    "code",
    [
        "import advisor",
        "import strategies",
        "import sys, advisor.cli; sys.argv = ['advisor', '--help']\ntry: advisor.cli.main()\nexcept SystemExit: pass",
    ],
    ids=["import advisor", "import strategies", "advisor --help"],
)
def test_importing_costs_nothing(code):
    """Neither the packages nor the help load TensorFlow, Keras, scikit-learn or pandas."""
    code += "\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in done.stdout.split("LOADED")[1].split()}
    assert not loaded & HEAVY


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_strategies_never_imports_advisor():
    """A recipe can be carried out without the advisor."""
    files = list((ROOT / "strategies").rglob("*.py"))
    assert len(files) > 5
    wrong = [path.name for path in files if any(name.split(".")[0] == "advisor" for name in _imports(path))]
    assert wrong == []


def test_no_module_bears_the_name_of_a_public_function():
    """Otherwise importing the module first would hide the function behind it."""
    import advisor
    import strategies

    for package in (advisor, strategies):
        modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
        assert not modules & set(package.__all__)


def test_every_public_name_resolves():
    """Lazy names exist where they are said to be."""
    import advisor
    import strategies

    for package in (advisor, strategies):
        for name in package.__all__:
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError):
            _ = package.no_such_name
