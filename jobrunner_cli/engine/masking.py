"""What is blotted out before anything leaves: values of environment variables, and secrets inside text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

#: What stands in place of a secret.
MASK = "xxxx-REDACTED-xxxx"

#: Variables whose values are shown in recorded container metadata; every other one is masked (section 4).
HARMLESS_VARIABLES = frozenset(
    {
        "PATH",
        "PYTHON_VERSION",
        "DEBIAN_FRONTEND",
        "DEBCONF_NONINTERACTIVE_SEEN",
        "UBUNTU_VERSION",
        "PYENV_SHELL",
        "PYENV_VERSION",
        "PYTHONUNBUFFERED",
        "OPENSAFELY_BACKEND",
        "TZ",
        "TEMP_DATABASE_NAME",
        "PYTHONPATH",
        "container",
        "LANG",
        "LC_ALL",
    }
)

#: Shorter values are left alone: masking them would blot out ordinary words.
SHORTEST_SECRET = 4
_SHORTEST_LINE = 16
_ARMOUR = re.compile(r"-{5}(BEGIN|END) [A-Z0-9 ]+-{5}")


def mask_environment(variables: list[str]) -> list[str]:
    """The `KEY=value` entries with the value of every variable masked that is not known to be harmless."""
    return [_mask_variable(entry) for entry in variables]


def _mask_variable(entry: str) -> str:
    name, separator, _ = entry.partition("=")
    return f"{name}={MASK}" if separator and name not in HARMLESS_VARIABLES else entry


class Masker:
    """Blots known secrets out of text: as they are, as a URL quotes them, as JSON writes them, and line by line."""

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secret values; those of less than four characters are not looked for."""
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __repr__(self) -> str:
        return "Masker(…)"

    def mask(self, text: str) -> str:
        """The text with every secret replaced by the mask."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def mask_bytes(self, line: bytes) -> bytes:
        """The same for bytes that may be no text."""
        if self._pattern is None:
            return line
        return self.mask(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _forms(secret: str) -> Iterator[str]:
    """Every way in which a secret may turn up. Logs are masked by the line, so the lines of a key count singly."""
    bare = secret.strip()
    if len(bare) >= SHORTEST_SECRET:
        for value in (secret, bare):
            yield from (value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1])
    lines = secret.splitlines()
    if len(lines) > 1:
        for line in map(str.strip, lines):
            if len(line) >= _SHORTEST_LINE and not _ARMOUR.fullmatch(line):
                yield line
