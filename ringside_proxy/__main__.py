"""`ringside`, also as `python -m ringside_proxy`: sets the garbage collector, then runs the command."""

import gc
import sys
from typing import Final

GC_ALLOCATIONS: Final = 50_000
"""Containers that are made between two looks at the youngest generation; Python's own is 700.

What imports make lives as long as the process, and a request leaves hardly any cycles."""


def main() -> int:
    """Run the command; gives its exit status."""
    gc.set_threshold(GC_ALLOCATIONS)
    from ringside_proxy import cli  # only now: looking at what it imports cost a tenth of a start

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
