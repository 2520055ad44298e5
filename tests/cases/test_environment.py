"""What surrounds a command: the current folder, settings of Keras, damaged weights, encodings, Ctrl-C, forks."""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from pictures import fill
from support import ROOT

BACKBONE = "MobileNetV2-0.35"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes of 12 pictures each; one has a name that not every terminal can show."""
    folder = tmp_path_factory.mktemp("environment") / "data"
    for kind, name in enumerate(("Käfer", "moth 🦋")):
        fill(folder / name, 12, kind)
    return folder


def _advisor(*arguments, before="", flags=("-P",), **options):
    """Runs a command in a process of its own. `before` is code that comes first."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("environment", {})
    start = ("-c", f"{before}\nfrom advisor.cli import main\nmain()") if before else ("-m", "advisor")
    command = [sys.executable, *flags, *start, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, check=False, **options)


ALL_COMMANDS = """
import shlex, sys, time
from advisor.cli import main
import strategies.plans.planning as planning
planning.FEW_IMAGES = planning.VERY_FEW_IMAGES = 0
network = "--weights bundled --image-size 32"
for command in (
    f"recommend . {network} --out ../advice",
    f"train . {network} --recipe head_only --out ../run",
    "evaluate ../run .", "report ../run", "predict ../run .", "export ../run --format onnx", "script ../run",
    "profile .", "check .", "recipes", "backbones", "demo --out ../demo",
    f"compare . {network} --minutes 0.01",
):
    sys.argv = ["advisor", *shlex.split(command)]
    t=time.process_time()
    try:
        main()
    except SystemExit as stop:
        print("EXIT", stop.code or 0, command)
    print(command, time.process_time()-t, file=sys.stderr)
"""
