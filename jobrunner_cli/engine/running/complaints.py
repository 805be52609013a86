"""What goes wrong within the loop: logged when it begins and now and then while it lasts, and told to whoever asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running.settling import is_expected

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.tracks import EffectDone
    from jobrunner_cli.engine.work import Decision

log = logging.getLogger(__name__)

#: Seconds between two lines about the same trouble.
_AGAIN_AFTER = 60.0
#: Seconds for which a trouble counts as one of now: a locked database is waited for half a minute before it is one again.
_FRESH = 60.0
#: Troubles that are told apart.
_MOST = 100


class Complaints:
    """The troubles of one loop; they are noted by its thread, and read by any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        #: trouble -> when it was logged, and how often it came since
        self._known: dict[str, tuple[float, int]] = {}
        self._last: tuple[float, str] | None = None

    def note(self, doing: str, error: Exception) -> None:
        """The loop could not do this, because of that."""
        now, name = self._clock(), type(error).__name__
        text = str(error) if isinstance(error, JobrunnerError) else f"{name}: {error}"
        self._last = (now, f"the runner could not {doing}: {text}")
        # What was being done may differ each time, while the trouble is the same.
        logged_at, count = self._known.get(text, (None, 0))
        if logged_at is not None and now - logged_at < _AGAIN_AFTER:
            self._known[text] = (logged_at, count + 1)
            return
        if logged_at is None:
            unexpected = None if isinstance(error, JobrunnerError) else error
            log.error("The runner could not %s: %s", doing, text, exc_info=unexpected)
        else:
            log.error("The runner could not %s: %s (and %d times before)", doing, text, count)
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known.pop(text, None)
        self._known[text] = (now, 0)

    @property
    def recent(self) -> str | None:
        """The last trouble, if it came within the last minute."""
        last = self._last
        return last[1] if last is not None and self._clock() - last[0] < _FRESH else None


def steps_of(decisions: Sequence[Decision]) -> str:
    """Decisions (at least one) in the words of a complaint about them."""
    first = decisions[0]
    step = f"{first.job_id} as {first.path[-1].value}" if first.path else f"what becomes of {first.job_id}"
    return step if len(decisions) == 1 else f"{step}, and {len(decisions) - 1} more"


def log_failure(done: EffectDone, error: Exception, level: int) -> None:
    """Log that an effect failed, with where in the program if nobody has foreseen that."""
    trace = None if is_expected(error) else error
    log.log(level, "%s of %s failed: %s", done.kind.value, done.job_id, error, exc_info=trace)
