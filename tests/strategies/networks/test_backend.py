"""Keras starts without a word."""

import subprocess
import sys

CODE = """
import sys
from strategies.networks.backend import start_keras
start_keras()
start_keras()
print("keras" in sys.modules, file=sys.stderr)
"""


def test_nothing_of_the_start_reaches_stderr():
    """What is said afterwards does."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "True\n")
