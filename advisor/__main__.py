"""python -m advisor"""

import os
import sys

# Python puts the current folder first, where files of a stranger may be named like the modules that are imported below.
if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

from advisor.cli import main

if __name__ == "__main__":
    main()
