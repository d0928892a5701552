"""``python -m ContrastSynthLib``: the command line."""

import sys

from ContrastSynthLib.cli import main

sys.exit(main())
