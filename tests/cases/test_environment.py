"""What surrounds a command: the current folder, encodings, settings of Keras, folders that cannot be used, Ctrl-C."""

import configparser
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from pictures import fill
from support import ROOT

BACKBONE = "MobileNetV2-0.35"
NETWORK = "--weights bundled --image-size 32"
CLASSES = ["Käfer", "moth 🦋"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes of 12 pictures each, with names that not every terminal can show."""
    folder = tmp_path_factory.mktemp("environment") / "data"
    for kind, name in enumerate(CLASSES):
        fill(folder / name, 12, kind)
    return folder


def _python(*arguments, environment=None, **options):
    """Runs Python in a process of its own, which does not look for modules in the current folder."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, check=False, timeout=300, **options)


def _plant(folder, names):
    """Writes a module of each name that leaves a mark if it is imported."""
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'mark')!r}, 'a').write({name + ' '!r})")


COMMANDS = f"""
import shlex, sys
from advisor.cli import main
import strategies.plans.planning as planning
planning.FEW_IMAGES = planning.VERY_FEW_IMAGES = 0
for command in (
    "recommend . {NETWORK}", "train . {NETWORK} --recipe head_only --out ../run", "evaluate ../run .", "report ../run",
    "predict ../run .", "export ../run --format keras", "script ../run", "profile .", "check .", "recipes", "backbones",
):
    sys.argv = ["advisor", *shlex.split(command)]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""


def test_no_file_of_the_current_folder_runs_as_code(data, tmp_path):
    """Neither in a command nor in the processes that it starts, whatever name of a module a file has.

    `compare` and `demo` are put together from these commands.
    """
    here = tmp_path / "here"
    shutil.copytree(data, here)
    _plant(here, {*sys.stdlib_module_names, *packages_distributions(), "advisor", "strategies", "sitecustomize"})
    done = _python("-P", "-c", COMMANDS, cwd=here, environment={"ADVISOR_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr.decode()
    assert b"cannot convert" not in done.stderr
    assert not (here / "mark").exists(), (here / "mark").read_text()


RESULTS = ROOT / "advisor" / "evidence" / "results" / "mobilenet_0.25_96px.csv"


@pytest.mark.parametrize(
    ("command", "shown"),
    [("advisor backbones", b"MobileNetV2"), (f"advisor.evidence table --json '{RESULTS}'", b"head_only")],
)
def test_python_m_leaves_the_current_folder_out(tmp_path, command, shown):
    """Of what Python itself does not import before the package runs."""
    _plant(tmp_path, {*packages_distributions(), "strategies"} - {"advisor", *sys.stdlib_module_names})
    done = _python("-m", *shlex.split(command), cwd=tmp_path)
    assert (done.returncode, shown in done.stdout) == (0, True), done.stderr.decode()
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("command", [["advisor", "backbones"], ["advisor-evidence", "table", "--json", str(RESULTS)]])
def test_an_installed_command_imports_nothing_from_the_current_folder(tmp_path, command):
    """Whatever name of a module a file has."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = settings["options.entry_points"]["console_scripts"].strip().splitlines()
    module, function = dict(line.split(" = ") for line in lines)[command[0]].split(":")
    script = tmp_path / "bin" / "command.py"  # as pip writes it
    script.parent.mkdir()
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())")
    here = tmp_path / "here"
    here.mkdir()
    _plant(here, {*sys.stdlib_module_names, *packages_distributions(), "advisor", "strategies", "sitecustomize"})
    done = _python(script, *command[1:], cwd=here)
    assert done.returncode == 0, done.stderr.decode()
    assert not (here / "mark").exists(), (here / "mark").read_text()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_terminal_cannot_show_is_escaped(encoding, data):
    """Text stays readable; JSON has the same content as in any other encoding."""
    environment = {"PYTHONIOENCODING": f"{encoding}:strict"}
    text = _python("-P", "-m", "advisor", "profile", data, environment=environment)
    assert text.returncode == 0, text.stderr.decode()
    assert rb"moth \U0001f98b" in text.stdout
    assert (b"K\xe4fer" if encoding == "cp1252" else rb"K\xe4fer") in text.stdout
    done = _python("-P", "-m", "advisor", "profile", data, "--json", environment=environment)
    assert json.loads(done.stdout)["profile"]["class_names"] == CLASSES


@pytest.mark.parametrize("source", ["keras.json", "KERAS_BACKEND"])
def test_a_backend_that_is_not_installed_is_named(source, tmp_path):
    """One sentence, and where the name comes from."""
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "numbers"} if source == "keras.json" else {}))
    environment = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "numbers" if source == "KERAS_BACKEND" else ""}
    done = _python("-P", "-m", "advisor", "demo", "--out", tmp_path / "out", environment=environment)
    said = done.stderr.decode().strip()
    assert (done.returncode, len(said.splitlines())) == (2, 1), said
    assert "'numbers', from " in said
    assert source in said


TRAIN = f"""
import sys, keras
data, run = sys.argv[1:]
sys.argv = ["advisor", "train", data, "--out", run, *"{NETWORK} --recipe head_only".split()]
import strategies.plans.planning as planning
planning.FEW_IMAGES = planning.VERY_FEW_IMAGES = 0
from advisor.cli import main
try:
    main()
finally:
    print(keras.config.image_data_format(), keras.config.floatx(), keras.config.dtype_policy().name)
    print({{weight.dtype for weight in keras.models.load_model(run + "/model.keras").weights}})
"""


def test_settings_of_keras_and_folders_that_cannot_be_used_change_nothing(data, tmp_path):
    """Channels first, float16, and a file where home and cache should be: a training is done, the settings are kept."""
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first", "floatx": "float16"}))
    (tmp_path / "file").touch()
    folders = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file"), "ADVISOR_CACHE": ""}
    run = tmp_path / "run"
    done = _python("-P", "-c", TRAIN, data, run, environment=folders | {"KERAS_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines()[-2:] == ["channels_first float16 float16", "{'float32'}"]


FROM_PYTHON = """
import sys, strategies
import strategies.plans.planning as planning
planning.FEW_IMAGES = planning.VERY_FEW_IMAGES = 0
data, run = sys.argv[1:]
dataset = strategies.split_dataset(strategies.load_dataset(data), seed=0)
plan = strategies.make_plan(
    "head_only", "MobileNetV2-0.35", weights="bundled", image_size=32, class_names=dataset.class_names, num_train=16)
strategies.train(plan, dataset, run, cache=False)
print(len(strategies.predict(run, [data])))
"""


def test_nothing_of_tensorflow_is_printed_from_python(data, tmp_path):
    """Neither its start nor its warnings reach stderr, whichever function imports it first."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0", "ADVISOR_ENGINE": "keras"}  # else only training would start it
    done = _python("-P", "-c", FROM_PYTHON, data, tmp_path / "run", environment=environment)
    assert (done.returncode, done.stdout) == (0, b"24\n"), done.stderr.decode()
    said = done.stderr.decode().splitlines()
    assert [line[:30] for line in said] == ["Too few images for a threshold"]


def test_an_interrupted_training_says_what_is_kept(advisor, data, tmp_path, monkeypatch):
    """And how to go on. A command that keeps nothing says that."""

    def interrupt(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("strategies.training.trainer.run_phase", interrupt)
    arguments = ("train", data, *NETWORK.split(), "--recipe", "head_only", "--quiet", "--out", tmp_path / "run")
    code, out, err = advisor(*arguments)
    assert (code, out) == (130, "")
    assert err == f"advisor: interrupted. What was trained is kept in {tmp_path / 'run'}: add --resume to the same " + (
        "command to continue.\n"
    )
    monkeypatch.setattr("advisor.measure.profile.profile_images", interrupt)
    code, out, err = advisor("profile", data)
    assert (code, out, err) == (130, "", "advisor: interrupted. Nothing was finished: run the same command again.\n")


FORK = """
import os, sys
import numpy as np
import strategies
from strategies.networks.backend import start_keras
start_keras()
if os.fork() == 0:
    try:
        strategies.extract_features(np.zeros((2, 32, 32, 3), "uint8"), "MobileNetV2-0.35", weights="random")
    except ValueError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_a_process_that_was_forked_after_keras_was_used_gets_a_sentence():
    """It would wait forever for threads that it does not have."""
    done = _python("-P", "-c", FORK)
    assert b"Start it with multiprocessing.get_context('spawn')." in done.stdout, done.stderr.decode()
