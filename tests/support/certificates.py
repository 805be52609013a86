"""What a server on this machine needs for TLS."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def certified(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server for `localhost` needs for TLS, and the file of the authority, self-made, that vouches for it."""
    authority, key, request, certificate = (
        directory / name for name in ("ca.pem", "key.pem", "request.pem", "cert.pem")
    )
    extensions = directory / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for arguments in (
        ["req", "-x509", *new_key, "-days", "2", "-subj", "/CN=An authority for tests",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign",
         "-keyout", str(directory / "ca.key"), "-out", str(authority)],
        ["req", *new_key, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(request)],
        ["x509", "-req", "-in", str(request), "-days", "2", "-CA", str(authority), "-CAkey", str(directory / "ca.key"),
         "-CAcreateserial", "-extfile", str(extensions), "-out", str(certificate)],
    ):  # fmt: skip
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, authority
