"""Secrets in a log: found wherever a long line is broken, and never shown by halves where something was cut out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.jobfiles import joblog
from jobrunner_cli.engine.loglines import LogGap, LogPiece, stamp_of
from jobrunner_cli.engine.masking import MASK, Masker

STAMP = b"2026-11-23T19:05:58.695663261Z"
SECRETS = ["sw0rdfish-and-chips", "chips+vinegar", "vine"]
MASKED = MASK.encode()


def pieces(text: bytes, cuts: list[int], *, stream: int = 1, unseen: bool = False) -> list[bytes]:
    """A line that is broken at these places; `unseen` if something of it came before."""
    bounds = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(bounds)]
    return [
        LogPiece.of(STAMP + b" " + part, stream=stream, continues=unseen or at > 0, last=at == len(parts) - 1)
        for at, part in enumerate(parts)
    ]


def text_of(lines: list[bytes]) -> bytes:
    return b"".join(line[len(STAMP) + 1 :] for line in lines if stamp_of(line))


WORDS = st.lists(
    st.sampled_from([*(secret.encode() for secret in SECRETS), b"plain", b"sw0rd", b"\xff", b" "]), max_size=8
)
CUTS = st.lists(st.integers(0, 200), max_size=6)


@given(WORDS, CUTS)
def test_a_long_line_is_masked_as_if_it_were_whole(words: list[bytes], cuts: list[int]) -> None:
    masker = Masker(SECRETS)
    # A line may end in the middle of a secret; here it does not, so that what is expected is plain.
    text = b"".join(words) + b" end"
    masked = list(masker.mask_lines(pieces(text, cuts)))
    assert text_of(masked) == masker.mask_bytes(text)
    assert all(stamp_of(line) == STAMP for line in masked)


@given(WORDS, CUTS, CUTS)
def test_two_streams_do_not_hide_a_secret_from_each_other(
    words: list[bytes], cuts: list[int], others: list[int]
) -> None:
    masker = Masker(SECRETS)
    text = b"".join(words) + b" end"
    out, err = pieces(text, cuts, stream=1), pieces(b"e" * 50, others, stream=2)
    mixed = [line for pair in zip(out, err, strict=False) for line in pair]
    mixed += out[len(err) :] + err[len(out) :]
    masked = text_of([*masker.mask_lines(mixed)])
    assert masked.replace(b"e" * 50, b"").replace(b"e", b"") == masker.mask_bytes(text).replace(b"e", b"")


@given(st.integers(1, 18), st.integers(20, 100))
def test_second_half_of_a_secret_whose_first_was_cut_out_is_not_shown(begin: int, cut: int) -> None:
    secret = SECRETS[0].encode()
    lines = pieces(secret[begin:] + b"." * 100 + secret + b" end", [cut], unseen=True)
    masked = list(Masker([SECRETS[0]]).mask_lines(lines))
    assert isinstance(masked[0], LogGap)
    shown = text_of(masked).lstrip(b".")
    assert shown == MASKED + b" end" if cut >= 2 * len(secret) else not shown


@given(st.integers(4, 18))
def test_first_half_of_a_secret_at_an_end_is_not_shown(size: int) -> None:
    secret = SECRETS[0].encode()
    unfinished = LogPiece.of(STAMP + b" x" + secret[:size], stream=1, continues=False, last=True)
    assert list(Masker([SECRETS[0]]).mask_lines([unfinished])) == [STAMP + b" x" + MASKED]
    broken_off = LogPiece.of(STAMP + b" x" + secret[:size], stream=1, continues=False, last=False)
    assert text_of([*Masker([SECRETS[0]]).mask_lines([broken_off])]) == b"x" + MASKED


def test_first_half_of_a_secret_before_a_gap_is_not_shown() -> None:
    secret = SECRETS[0].encode()
    lines = [
        LogPiece.of(STAMP + b" before " + secret[:9], stream=1, continues=False, last=False),
        LogGap.of(5, 500),
        STAMP + b" after",
    ]
    assert b"sw0r" not in b"".join(Masker([SECRETS[0]]).mask_lines(lines))


@given(st.integers(0, 40))
def test_no_half_of_a_secret_is_on_a_border_of_what_is_stored(shift: int) -> None:
    secret = SECRETS[0].encode()
    text = b"." * shift + secret * 400
    lines = pieces(text, list(range(100, len(text), 100)))
    stored = _stored(list(Masker([SECRETS[0]]).mask_lines(lines)))
    assert b"cut out here" in stored
    assert not [at for at in range(len(secret) - 3) if secret[at : at + 4] in stored.replace(MASKED, b"")]


def _stored(lines: list[bytes]) -> bytes:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        path = joblog.compose(lines, {}, {}, {}, control=Path(place), head_bytes=2000, tail_bytes=2000)
        return path.read_bytes()


def test_without_secrets_nothing_is_changed() -> None:
    lines = [*pieces(b"abc" * 10, [3, 7], unseen=True), LogGap.of(1, 2), STAMP + b" x"]
    assert list(Masker([]).mask_lines(lines)) == lines
