"""The entry point of the command `castline`: it leaves with the exit code, whenever Ctrl-C comes."""

import signal
import sys

from castline.errors import INTERRUPTED


def main() -> None:
    """Run the command line."""
    try:
        from castline.cli.app import app

        app()
    except KeyboardInterrupt:  # before a command could handle it
        print("interrupted: nothing was begun", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        # What is done is done: Ctrl-C while Python shuts down must not turn it into a failure.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
