"""python -m advisor.evidence"""

import advisor.safe_path  # noqa: F401 - before all others
from advisor.evidence.commands import main

if __name__ == "__main__":
    main()
