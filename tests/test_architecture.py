"""The lines of the design that must hold: one direction, and imports that cost nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

HEAVY = {
    "tensorflow",
    "keras",
    "sklearn",
    "pandas",
    "torch",
    "jax",
    "matplotlib",
    "pyarrow",
    "fsspec",
    "datasets",
    "ray",
}


@pytest.mark.parametrize(
    "code",
    [
        "import advisor",
        "import strategies",
        "import sys, advisor.cli; sys.argv = ['advisor', '--help']\ntry: advisor.cli.main()\nexcept SystemExit: pass",
        "import os; os.environ |= {'_ADVISOR_COMPLETE': 'complete_bash', 'COMP_CWORD': '4', "
        "'COMP_WORDS': 'advisor train photos --backbone Mob'}\n"
        "import advisor.cli\ntry: advisor.cli.main()\nexcept SystemExit: pass",
    ],
    ids=["import advisor", "import strategies", "advisor --help", "completion"],
)
def test_importing_costs_nothing(code):
    """Neither the packages nor help and completion load TensorFlow, Keras, scikit-learn or pandas."""
    code += "\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in done.stdout.split("LOADED")[1].split()}
    assert not loaded & HEAVY


# Wings from the top down; a name ends where a wing is a single module. Modules of a wing import only what is below it,
# or within it. The same holds for the two packages: `advisor` imports `strategies`, never the reverse.
WINGS = (
    "advisor.__main__",
    "advisor.evidence",
    "advisor.cli",
    "advisor.comparison",
    "advisor.classifier",
    "advisor.recommendation",
    "advisor.extension",
    "advisor.report",
    "advisor.outcomes",
    "advisor.results",
    "advisor.advice",
    "advisor.race",
    "advisor.time_limit",
    "advisor.decision",
    "advisor.preferences",
    "advisor.expectation",
    "advisor.likeness",
    "advisor.cautions",
    "advisor.rules",
    "advisor.plans",
    "advisor.measure",
    "advisor.quality",
    "advisor.calibration",
    "advisor.installation",
    "advisor.safe_path",
    "advisor._version",
    "strategies.runs",
    "strategies.training",
    "strategies.plans",
    "strategies.features",
    "strategies.networks",
    "strategies.data",
    "strategies.cluster",
    "strategies.display",
    "strategies.recipes",
    "strategies.files",
    "strategies.processes",
    "strategies.startup",
    "strategies.errors",
)


def _modules():
    """Every module of both packages by its name, the packages themselves left out: their names are resolved lazily."""
    found = {}
    for package in ("advisor", "strategies"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if "." in name:
                found[name] = path
    return found


def _edges():
    """Pairs (module, imported module), imports inside functions and under TYPE_CHECKING included."""
    modules = _modules()
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative import"
                wanted = [node.module]
                wanted += [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for target in wanted:
                if target in modules and target != name:
                    yield name, target
                elif target in ("advisor", "strategies"):
                    raise AssertionError(f"{name} imports the package {target}: import from the module instead")


def _wing(module):
    return next(wing for wing in WINGS if module == wing or module.startswith(f"{wing}."))


def test_keras_is_imported_where_it_starts_quietly():
    """From the module that hides the messages of TensorFlow; the check of an export has a process of its own."""
    allowed = {"strategies.networks.backend", "strategies.runs.runtimes"}
    loud = []
    for name, path in _modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in set(ast.walk(tree)) - for_types:
            wanted = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            wanted += [node.module] if isinstance(node, ast.ImportFrom) else []
            if any(module.split(".")[0] == "keras" for module in wanted) and name not in allowed:
                loud.append(f"{name}, line {node.lineno}")
    assert loud == []


def test_every_module_belongs_to_a_wing():
    """A new folder or file at the top needs a place in the order."""
    modules = list(_modules())
    assert len(modules) > 100
    assert {_wing(module) for module in modules} == set(WINGS)


def test_wings_import_only_downwards():
    """Data flows forward: nothing imports from a wing above its own."""
    order = {wing: place for place, wing in enumerate(WINGS)}
    upwards = [f"{name} -> {target}" for name, target in _edges() if order[_wing(target)] < order[_wing(name)]]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle():
    """Imports inside functions and under TYPE_CHECKING count too."""
    imported = {}
    for name, target in _edges():
        imported.setdefault(name, set()).add(target)
    done, open_ = set(), []

    def visit(module):
        if module in open_:
            raise AssertionError(" -> ".join([*open_[open_.index(module) :], module]))
        if module in done:
            return
        open_.append(module)
        for target in sorted(imported.get(module, ())):
            visit(target)
        open_.pop()
        done.add(module)

    for module in sorted(imported):
        visit(module)


def test_the_product_does_not_import_the_study():
    """What both need, the format of results, has a place of its own."""
    wrong = [
        f"{name} -> {target}"
        for name, target in _edges()
        if target.startswith("advisor.evidence") and not name.startswith("advisor.evidence")
    ]
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


def test_the_layout_names_every_module_in_the_order_of_the_wings():
    """The layout in the guide for contributors is complete, and its lines stand in the order that imports keep to."""
    layout = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    words = set(re.findall(r"[a-z_]+", layout))
    modules = {name.rsplit(".", 1)[1] for name in _modules()} - {"__main__", "_version"}
    assert modules <= words, sorted(modules - words)
    first_words = [line.split()[0].strip("/,") for line in layout.splitlines() if re.match(r"  [a-z]", line)]
    wings = [name.rsplit(".", 1)[1] for name in WINGS if name.rsplit(".", 1)[1] in first_words]
    assert first_words == wings


def test_the_tests_and_fixtures_that_take_long_are_there():
    """A name in a table of `conftest` that no function bears would leave its mark out without a word."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("*.py")]
    functions = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    tables = {"LONGEST", "LONG", "SLOW", "SLOW_FIXTURES", "LONG_FIXTURES"}
    listed = {}
    for node in ast.parse((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in tables:
            names = [value.value for value in ast.walk(node.value) if isinstance(value, ast.Constant)]
            listed[node.targets[0].id] = {name.partition("[")[0] for name in names}
    assert listed.keys() == tables
    assert set().union(*listed.values()) <= functions
