"""Run the command line for `python -m maskpencil`, after `_startup` has made the module search path safe."""

import sys

from maskpencil.cli import main

sys.exit(main())
