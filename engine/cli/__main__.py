"""`python -m engine.cli` is `wsss`."""

import sys

from engine.cli import main

sys.exit(main())
