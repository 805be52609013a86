"""The images of a Docker engine: which ones jobs may use, and fetching one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.errors import (
    ExecutorError,
    ImageMissingError,
    JobrunnerError,
    RegistryUnreachableError,
)
from jobrunner_cli.engine.executors.docker_configuration import ImageFacts
from jobrunner_cli.engine.executors.docker_connection import EngineConnection, explanation, is_absent
from jobrunner_cli.engine.executors.docker_streams import post_stream, reports
from jobrunner_cli.engine.executors.protocol import ImageInfo

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Seconds for which what is known of an image is not asked again.
_IMAGE_KNOWN_FOR = 5.0
#: Seconds that a registry may be silent while an image is fetched.
_PULL_SILENCE = 300.0
#: What an engine's answer has in it when nobody answered the engine (the words of Go's `net` package).
_NO_CONNECTION = ("dial tcp", "i/o timeout", "no such host", "Client.Timeout", "TLS handshake timeout")


def full_image_name(name: str, registry: str) -> str:
    """The name with registry and tag: `python:v2` is one of the platform's own, and no tag means `latest`."""
    if "/" not in name:
        name = f"{registry}/{name}"
    return name if ":" in name.rsplit("/", 1)[-1] or "@" in name else f"{name}:latest"


def short_image_name(name: str, registry: str) -> str:
    """The name as users write it: without the platform's registry."""
    return name.removeprefix(f"{registry}/")


class KnownImages:
    """What an engine says of the images that containers are made from, asked once in a few seconds."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._facts: dict[str, tuple[float, ImageFacts]] = {}

    def facts(self, client: APIClient, image: str) -> ImageFacts:
        """What matters of an image. Raises ImageMissingError."""
        from docker.errors import APIError

        known = self._facts.get(image)
        if known is not None and time.monotonic() - known[0] < _IMAGE_KNOWN_FOR:
            return known[1]
        asked_at = time.monotonic()
        try:
            facts = ImageFacts.of(client.inspect_image(image))  # type: ignore[no-untyped-call]
        except APIError as error:
            if is_absent(error):
                raise self.missing(image) from error
            raise
        self._facts[image] = (asked_at, facts)
        return facts

    def missing(self, image: str) -> ImageMissingError:
        """The error for an image that is not there; what was known of it is forgotten."""
        self._facts.pop(image, None)
        short = short_image_name(image, self._registry)
        return ImageMissingError(f"the image {image} is not on this machine", hint=f"jobrunner images pull {short}")


def list_images(engine: EngineConnection, registry: str) -> list[ImageInfo]:
    """The images of the platform's registry that are here, sorted by name."""
    with engine.calling("list its images") as client:
        told = client.images()
    found = [
        ImageInfo(
            name=name,
            id=image["Id"],
            size=int(image.get("Size") or 0),
            created=datetime.fromtimestamp(int(image.get("Created") or 0), tz=UTC).isoformat(),
        )
        for image in told
        for name in image.get("RepoTags") or ()
        if name.startswith(f"{registry}/")
    ]
    return sorted(found, key=lambda image: image.name)


def pull_image(engine: EngineConnection, name: str) -> Iterator[str]:
    """Fetch an image by its full name; yields lines of progress, none twice in a row.

    Raises ExecutorError if the registry refuses it, RegistryUnreachableError if it does not answer, and
    ExecutorUnavailableError if the engine breaks off.
    """
    from docker.auth import get_config_header, resolve_repository_name
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    doing = f"fetch {name}"
    repository, tag = parse_repository_tag(name)
    client = engine.dedicated(doing, timeout=_PULL_SILENCE)
    try:
        with engine.translated(doing, _PULL_SILENCE):
            header = get_config_header(client, resolve_repository_name(repository)[0])
            headers = {"X-Registry-Auth": header.decode()} if header else {}
            try:
                response = post_stream(
                    client, "/images/create", timeout=_PULL_SILENCE, headers=headers, fromImage=repository, tag=tag
                )
            except APIError as error:
                # The engine answers 500 for whatever its registry says, and 502 to 504 are a gateway's before it.
                if (error.status_code or 0) > 500:
                    raise
                raise _refusal(name, explanation(error)) from error
            with response:
                yield from _progress(name, reports(response))
    finally:
        client.close()


def _progress(name: str, told: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    last = ""
    for report in told:
        if "error" in report:
            raise _refusal(name, str(report["error"]))
        words = [f"{report['id']}:" if report.get("id") else "", report.get("status", ""), report.get("progress", "")]
        line = " ".join(filter(None, words))
        if line and line != last:
            last = line
            yield line


def _refusal(name: str, words: str) -> JobrunnerError:
    message = f"{name} could not be fetched: {words}"
    if any(word in words for word in _NO_CONNECTION):
        host = name.partition("/")[0]
        return RegistryUnreachableError(
            message, hint=f"can the machine of the engine reach {host}? A proxy is the engine's business"
        )
    return ExecutorError(
        message, hint="is the name right, and is this machine logged in to the registry (docker login)?"
    )
