"""A registry of images on this machine, for an engine to pull from: the reading half of the distribution API, version 2."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """What the registry has, and where it is."""

    def __init__(self, address: str) -> None:
        #: host and port, as the beginning of an image's name
        self.address = address
        #: path below /v2/ -> type and content
        self.contents: dict[str, tuple[str, bytes]] = {"": ("application/json", b"{}")}

    def publish(self, client: Any, source: str, name: str, tag: str) -> str:
        """Offer an image that an engine has under a name of this registry; returns its full name."""
        with tarfile.open(fileobj=io.BytesIO(b"".join(client.get_image(source)))) as saved:
            [listed] = json.load(_member(saved, "manifest.json"))
            config = _member(saved, listed["Config"]).read()
            layers = [gzip.compress(_member(saved, layer).read(), 1) for layer in listed["Layers"]]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._blob(name, CONFIG, config),
                "layers": [self._blob(name, LAYER, layer) for layer in layers],
            }
        ).encode()
        for reference in (tag, _digest(manifest)):
            self.contents[f"{name}/manifests/{reference}"] = (MANIFEST, manifest)
        return f"{self.address}/{name}:{tag}"

    def _blob(self, name: str, kind: str, content: bytes) -> dict[str, Any]:
        self.contents[f"{name}/blobs/{_digest(content)}"] = ("application/octet-stream", content)
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _member(archive: tarfile.TarFile, name: str) -> Any:
    stream = archive.extractfile(name)
    assert stream is not None
    return stream


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry that answers while inside."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = registry.contents.get(self.path.removeprefix("/v2/"))
            unknown = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            kind, content = known or ("application/json", unknown)
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            if known:
                self.send_header("Docker-Content-Digest", _digest(content))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """The tests' output is not a server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry = Registry(f"127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
