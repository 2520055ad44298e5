"""Keras and TensorFlow are quiet where nothing is wrong."""

import subprocess
import sys
from contextlib import nullcontext
from logging import WARNING, getLogger
from logging.handlers import BufferingHandler

from strategies.networks.backend import first_traces

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


def test_only_the_warning_of_traces_is_hidden(caplog):
    """TensorFlow takes the functions of all models for one; what else it says is still shown, and afterward all is."""
    logger, shown = getLogger("tensorflow"), BufferingHandler(10)
    caplog.set_level(WARNING, logger.name)  # the command line sets a higher one
    logger.addHandler(shown)
    try:
        for context in (first_traces(), nullcontext()):
            with context:
                logger.warning("%s out of the last %s calls to %s triggered tf.function retracing.", 5, 9, "f")
                logger.warning("disk is full")
    finally:
        logger.removeHandler(shown)
    assert [record.msg.split()[-1] for record in shown.buffer] == ["full", "retracing.", "full"]
