"""`python -m jobrunner_cli` is the command."""

from jobrunner_cli.cli import main

if __name__ == "__main__":
    main()
