"""What the installed package holds, and what it says about itself."""

import ast
import configparser
import re
import sys

import pytest
from support import ROOT

import advisor

PACKAGES = ("advisor", "strategies")
# Modules whose names are not those of their packages, apart from hyphens.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
BACKENDS = {"jax", "torch"}  # of Keras, for users who have chosen them
# In the repository alone: what the study found.
NOT_INSTALLED = ("evidence/results/",)


@pytest.fixture(scope="module")
def settings():
    """The content of `setup.cfg`."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _data(settings, package):
    """Returns the files that the globs of `setup.cfg` put into a package and the packages below it."""
    found = set()
    for name, globs in settings["options.package_data"].items():
        if name.split(".")[0] == package:
            folder = ROOT.joinpath(*name.split("."))
            for glob in (glob.strip() for glob in globs.split(",")):
                files = {path for path in folder.glob(glob) if path.is_file()}
                assert files, f"{glob} of {name} matches nothing"
                found |= {path.relative_to(ROOT / package).as_posix() for path in files}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_holds_every_file_but_the_results_of_the_study(package, settings):
    """A template or a schema that is forgotten would be missing only where the package is installed."""
    there = {
        path.relative_to(ROOT / package).as_posix()
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    held = _data(settings, package)
    assert held == {name for name in there if not name.startswith(NOT_INSTALLED)}
    assert "py.typed" in held


def _imported():
    """Returns the packages of others that the code imports anywhere."""
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
    ours = {*PACKAGES, *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in found - ours}


def _names(requirements):
    return set(re.findall(r"^[\w-]+", requirements, re.MULTILINE))


def test_every_import_is_declared_and_every_requirement_is_imported(settings):
    """A package that only comes with another one may stop to."""
    required = _names(settings["options"]["install_requires"])
    optional = {name for extra in settings["options.extras_require"].values() for name in _names(extra)}
    imported = _imported()
    assert imported - required - optional <= BACKENDS
    assert required <= imported


def test_the_metadata_agree():
    """One license everywhere, and one version: that of the last release, or that of the next one in development."""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (version,) = re.findall(r"^version: (.*)$", citation, re.MULTILINE)
    (date,) = re.findall(r"^date-released: (.*)$", citation, re.MULTILINE)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert advisor.__version__ == version or re.fullmatch(r"\d+\.\d+\.\d+\.dev\d+", advisor.__version__)
    assert f"## [{version}] - {date}" in changelog
    assert ".".join(version.split(".")[:2]) in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_the_changelog_keeps_its_form():
    """Versions from the newest on, each with the four kinds of change."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    assert set(re.findall(r"^### (.*)$", changelog, re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
    }


def test_the_draft_for_conda_requires_what_the_package_requires(settings):
    """With the same lower bounds and the same commands."""
    draft = (ROOT / "packaging" / "conda" / "meta.yaml").read_text(encoding="utf-8")
    required = settings["options"]["install_requires"].split()
    run = draft.split("  run:\n")[1].split("\n\n")[0]
    wanted = [f"python {settings['options']['python_requires']}", *(line.replace(">=", " >=") for line in required)]
    assert re.findall("- (.*)", run) == wanted
    commands = settings["options.entry_points"]["console_scripts"].strip().splitlines()
    assert re.findall("- (.*)", draft.split("  entry_points:\n")[1].split("\n\n")[0]) == commands


def test_the_image_installs_extras_that_there_are_and_copies_what_is_installed(settings):
    """The build of the Docker image sees only the files that `.dockerignore` names."""
    build = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall("ARG EXTRAS=(.*)", build)
    assert set(extras.split(",")) <= set(settings["options.extras_require"])
    (entry,) = re.findall(r'ENTRYPOINT \["(.*)"\]', build)
    assert f"{entry} = " in settings["options.entry_points"]["console_scripts"]
    seen = set(re.findall("^!(.*)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    files = {settings["metadata"]["license_files"], settings["metadata"]["long_description"].removeprefix("file: ")}
    assert seen == {*PACKAGES, "setup.cfg", "pyproject.toml", *files}


def test_the_workflow_runs_scripts_that_there_are():
    """On every version of Python that the package names."""
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    scripts = re.findall(r"run: (\.ci/\S+)", workflow)
    assert set(scripts) == {f".ci/{path.name}" for path in (ROOT / ".ci").iterdir()}
    for path in re.findall(r"pytest .* (tests/\S+)", workflow):
        assert (ROOT / path).is_file()
    versions = re.findall(r'"(3\.\d+)"', workflow.split("matrix:")[1].split("steps:")[0])
    assert [f"Programming Language :: Python :: {version}" for version in versions] == [
        line
        for line in (ROOT / "setup.cfg").read_text(encoding="utf-8").replace("    ", "").splitlines()
        if line.startswith("Programming Language :: Python :: 3.")
    ]
