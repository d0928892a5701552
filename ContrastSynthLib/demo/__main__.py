"""``python -m ContrastSynthLib.demo``: the demonstration."""

import sys

from ContrastSynthLib.demo.demonstration import main

sys.exit(main())
