"""What is blotted out before anything leaves: values of environment variables, and secrets inside text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from jobrunner_cli.engine.loglines import LogGap, LogPiece

#: What stands in place of a secret.
MASK = "xxxx-REDACTED-xxxx"
_MASK_BYTES = MASK.encode()

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

    __slots__ = ("_encoded", "_longest", "_pattern", "_pattern_of_bytes")

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secret values; those of less than four characters are not looked for."""
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None
        encoded = (form.encode("utf-8", "surrogateescape") for form in forms)
        self._encoded = sorted(encoded, key=lambda form: (-len(form), form))
        self._pattern_of_bytes = re.compile(b"|".join(map(re.escape, self._encoded))) if forms else None
        self._longest = len(self._encoded[0]) if forms else 0

    def __repr__(self) -> str:
        return "Masker(…)"

    def mask(self, text: str) -> str:
        """The text with every secret replaced by the mask."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def mask_bytes(self, line: bytes) -> bytes:
        """The same for bytes that may be no text."""
        return self._pattern_of_bytes.sub(_MASK_BYTES, line) if self._pattern_of_bytes else line

    def mask_lines(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The items of a log, masked: a secret is found on the border of two pieces of a long line, too.

        A piece is held back as far as a secret may begin at its end. What goes on where an unseen piece ended may
        begin with the end of a secret, and is left out.
        """
        if self._pattern_of_bytes is None:
            yield from lines
            return
        held: dict[int, tuple[bytes, bytes]] = {}
        for line in lines:
            if isinstance(line, LogGap):
                held.clear()
                yield line
            elif isinstance(line, LogPiece):
                yield self._masked_piece(line, held)
            else:
                yield self.mask_bytes(line)
        for stamp, rest in held.values():
            yield stamp + b" " + self._mask_end(rest)

    def _masked_piece(self, piece: LogPiece, held: dict[int, tuple[bytes, bytes]]) -> bytes:
        stamp, _, text = piece.partition(b" ")
        before = held.pop(piece.stream, None)
        if piece.continues and before is None:
            # Of a short one all may be the end of a secret, and so the next one is no better known.
            if not piece.last and len(text) >= 2 * self._longest:
                held[piece.stream] = stamp, self._settled(text)[1]
            return LogGap.of(1, len(piece) + 1)
        if before is not None:
            text = before[1] + text
        if piece.last:
            masked = self._mask_end(text)
        else:
            masked, rest = self._settled(text)
            held[piece.stream] = stamp, rest
        return LogPiece.of(stamp + b" " + masked, stream=piece.stream, continues=piece.continues, last=piece.last)

    def _mask_end(self, text: bytes) -> bytes:
        """The end of a line, masked; it may have been cut in the middle of a secret."""
        masked = self.mask_bytes(text)
        for form in self._encoded:
            for size in range(min(len(form), len(masked)), SHORTEST_SECRET - 1, -1):
                if masked.endswith(form[:size]):
                    return masked[:-size] + _MASK_BYTES
        return masked

    def _settled(self, text: bytes) -> tuple[bytes, bytes]:
        """The part that is masked whatever follows, masked, and the rest, in which a secret may have begun."""
        assert self._pattern_of_bytes is not None
        edge = max(len(text) - self._longest + 1, 0)
        masked, at = bytearray(), 0
        for match in self._pattern_of_bytes.finditer(text):
            if match.start() >= edge:
                break
            masked += text[at : match.start()] + _MASK_BYTES
            at = match.end()
        cut = max(at, edge)
        masked += text[at:cut]
        return bytes(masked), text[cut:]


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
