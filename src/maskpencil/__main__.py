"""`python -m maskpencil`."""

import sys

from maskpencil.cli import main

sys.exit(main())
