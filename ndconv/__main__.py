"""``python -m ndconv calibrate``: measure the speed of this machine."""

from __future__ import annotations

import argparse
import sys

from ndconv._machine.profile import calibrate


def main() -> int:
    """Run the command; the exit status is 2 for invalid arguments."""
    parser = argparse.ArgumentParser(prog="python -m ndconv", description="Convolutions and their gradients.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("calibrate", help="measure how fast a device goes, and price with that from now on")
    command.add_argument("--device", help="such as cpu or cuda:0 (default: torch's default device)")
    command.add_argument("--reset", action="store_true", help="forget what was measured there")
    options = parser.parse_args()
    try:
        calibrate(options.device, reset=options.reset)
    except RuntimeError as error:
        parser.error(str(error).splitlines()[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
