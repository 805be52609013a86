"""The program `jobrunner`, and `python -m jobrunner_cli`: a command, or the answer to a shell's Tab."""

from __future__ import annotations

import sys
from typing import NoReturn

from jobrunner_cli.completion_scripts import COMPLETE


def main() -> NoReturn:
    """Run a command and exit with its documented code; a shell that asks what may follow always gets 0."""
    if sys.argv[1:2] == [COMPLETE]:
        # Somebody waits for each key: this way does without the library of the command line.
        from jobrunner_cli import completion

        completion.main(sys.argv[2:])
        sys.exit(0)
    from jobrunner_cli import cli

    cli.main()


if __name__ == "__main__":
    main()
