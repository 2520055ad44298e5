"""The public names of the package, which are loaded when they are asked for."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

import advisor
import strategies

# Names that users may have in their code. Whoever removes one has to say so here. Removed: `Pilot` and `run_pilot`,
# which became `Race` and `run_race` in release 0.6.
PUBLIC = (
    "BackboneComparison",
    "Comparison",
    "DatasetProfile",
    "DepthCurve",
    "Extension",
    "LearningCurve",
    "Mirroring",
    "Race",
    "Recommendation",
    "Resizing",
    "Similarity",
    "TransferClassifier",
    "__version__",
    "check_images",
    "compare_backbones",
    "compare_recipes",
    "extend",
    "measure_depth_curve",
    "measure_learning_curve",
    "measure_mirroring",
    "measure_similarity",
    "profile_images",
    "recommend",
    "run_race",
)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    """As an attribute, by `from advisor import ...`, and in the list that an editor shows."""
    assert getattr(advisor, name) is not None
    assert name in dir(advisor)
    scope = {}
    exec(f"from advisor import {name}", scope)
    assert scope[name] is getattr(advisor, name)


def test_no_other_name_is_public():
    """A new name is a promise, and is made on purpose."""
    assert sorted(advisor.__all__) == sorted(PUBLIC)


def test_a_name_that_does_not_exist_gives_one_clear_error():
    """It says which module and which name, with no other error before it."""
    with pytest.raises(AttributeError, match=r"^module 'advisor' has no attribute 'advise_me'$") as caught:
        _ = advisor.advise_me
    assert caught.value.__cause__ is caught.value.__context__ is None
    with pytest.raises(ImportError, match=r"cannot import name 'advise_me' from 'advisor'"):
        exec("from advisor import advise_me", {})


def test_a_name_is_found_whatever_was_imported_before():
    """Importing the module of a function first does not hide the function."""
    code = "import advisor.recommendation, advisor.race, advisor; print(callable(advisor.recommend), advisor.Race)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True <class")


@pytest.mark.parametrize("package", [advisor, strategies], ids=["advisor", "strategies"])
def test_type_checkers_are_told_of_the_names_that_are_loaded(package):
    """Each from the module that it is loaded from, and under its own name, so that it counts as public."""
    (block,) = (
        node
        for node in ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {(alias.asname, alias.name, node.module) for node in block.body for alias in node.names}
    assert told == {(name, name, module) for name, module in package._EXPORTS.items()}


def test_a_type_checker_knows_the_type_of_every_public_name(tmp_path):
    """In a project of a user, with strict settings; a name that does not exist is an error."""
    names = [f"{package.__name__}.{name}" for package in (advisor, strategies) for name in package.__all__]
    lines = ["import advisor", "import strategies", *(f"reveal_type({name})" for name in names), "advisor.advise_me"]
    (tmp_path / "use.py").write_text("\n".join(lines), encoding="utf-8")
    options = ["--config-file=", "--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "use.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    types = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(types) == len(names)
    assert "Any" not in types
    assert 'Module has no attribute "advise_me"' in done.stdout
    assert "Found 1 error" in done.stdout
