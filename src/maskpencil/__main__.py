"""Run the command line by `python -m maskpencil`; `_startup` says how the module search path is changed first."""

import sys

from maskpencil.cli import main

sys.exit(main())
