"""Leaves the current folder out of the places where modules are found; `python -m` puts it first.

Files of a stranger may have the names of modules there. Import this before anything else, in a `__main__` only.
"""

import os
import sys

if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]
