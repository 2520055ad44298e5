"""The public names of the package, which are loaded when they are asked for."""

import subprocess
import sys

import pytest

import advisor

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
