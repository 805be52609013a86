"""Makes sure that a Docker engine answers and has the images that tests and the demo run.

    engine.py          the configured engine if it answers, else a private one for this checkout
    engine.py env      print the line that points a shell at it
    engine.py stop     stop the private engine and everything it started; --purge deletes its data, too

What the private engine is made of is in private.py, the images in images.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from answering import NoEngineError, answers, connect, say
from installing import install
from private import URL, alone, start, stop

DEFAULT_SOCKET = Path("/var/run/docker.sock")
NO_ENGINE = 5  # the exit code that says: none here, and none can be had
NEEDED_TO_RUN = ("dockerd", "iptables", "ip")


def configured() -> str | None:
    """The address of the engine that the environment or the default socket names, if it answers."""
    url = os.environ.get("DOCKER_HOST") or (f"unix://{DEFAULT_SOCKET}" if DEFAULT_SOCKET.exists() else "")
    return url if url and answers(url) else None


def ensure() -> tuple[str, bool]:
    """Make sure that an engine answers and has the images: its address, and whether it is the private one."""
    url = configured()
    private = url is None or url == URL
    if url is None:
        if not sys.platform.startswith("linux"):
            raise NoEngineError("no Docker engine answers; start one, or point DOCKER_HOST at it")
        url = URL
        if not answers(URL):
            install(*NEEDED_TO_RUN, "busybox")
            # Where the package starts a system-wide service, that is the engine.
            if late := configured():
                url, private = late, False
            else:
                with alone():
                    if not answers(URL):
                        start()
    make_images(url)
    return url, private


def make_images(url: str) -> None:
    """Make the images that the engine lacks."""
    import docker.errors
    import images

    client = connect(url)
    if not images.missing(client):
        return
    try:
        install("busybox")
    except NoEngineError as error:
        say(f"The images for tests and demo cannot be made: {error}")
        return
    try:
        made = images.make(client)
    except docker.errors.APIError as error:
        raise NoEngineError(f"the engine at {url} takes no images: {error.explanation or error}") from None
    for name in made:
        say(f"Made {name}")


def main() -> int:
    """Carry out one command; the exit code is 5 where there is no engine and none can be started."""
    parser = argparse.ArgumentParser(prog="just engine", description="A Docker engine for tests and demo.")
    parser.add_argument("command", nargs="?", choices=["start", "env", "stop", "status"], default="start")
    parser.add_argument("--env", action="store_true", help="the same as the command env")
    parser.add_argument("--quiet", action="store_true", help="say only what is done, not what is there already")
    parser.add_argument("--purge", action="store_true", help="with stop: delete the private engine's data as well")
    given = parser.parse_args()
    command = "env" if given.env else given.command
    try:
        if command == "stop":
            stop(given.purge)
            return 0
        if command == "status":
            url = configured() or (URL if answers(URL) else None)
            print(url or "no engine answers")
            return 0 if url else NO_ENGINE
        url, private = ensure()
    except NoEngineError as error:
        say(f"No Docker engine: {error}")
        return NO_ENGINE
    if command == "env":
        print(f"export DOCKER_HOST={url}")
        return 0
    if given.quiet:
        return 0
    say(f"A Docker engine answers at {url}{' (private to this checkout)' if private else ''}")
    if url != os.environ.get("DOCKER_HOST"):
        say(f"  to use it: export DOCKER_HOST={url}")
    if private:
        say("  to stop it: ./just engine stop (with --purge to delete its data as well)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
