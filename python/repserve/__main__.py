"""`python -m repserve` is the binary."""

import os
import sys

from repserve._binary import RepserveError, binary


def main() -> None:
    """Becomes the binary, with the same arguments."""
    try:
        path = binary()
    except RepserveError as error:
        sys.exit(f"repserve: {error}")
    os.execv(path, [path, *sys.argv[1:]])


if __name__ == "__main__":
    main()
