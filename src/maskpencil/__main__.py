"""`python -m maskpencil`; see the package's beginning for what it does to the paths of modules."""

import sys

from maskpencil.cli import main

sys.exit(main())
