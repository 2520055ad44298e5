"""Keras is imported quietly."""

import subprocess
import sys

CODE = """
import sys
from strategies.networks.backend import start_keras
start_keras()
start_keras()
print("keras" in sys.modules, file=sys.stderr)
"""


def test_start_up_messages_do_not_reach_stderr():
    """Later messages do."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "True\n")
