"""``python -m merclip``: the same as the command ``merclip``."""

from __future__ import annotations

import sys

from merclip.cli import main

if __name__ == "__main__":
    sys.exit(main())
