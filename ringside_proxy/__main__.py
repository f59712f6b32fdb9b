"""`python -m ringside_proxy` is `ringside`."""

import sys

from ringside_proxy.cli import main

sys.exit(main())
