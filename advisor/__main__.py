"""python -m advisor"""

import advisor.safe_path  # noqa: F401 - before all others
from advisor.cli import main

if __name__ == "__main__":
    main()
