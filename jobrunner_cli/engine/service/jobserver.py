"""The transport to a job-server: two calls over HTTP, and everything that can go wrong with them in words.

The token goes to the configured host and nowhere else: no redirect is followed, and a next page is asked for at the
configured address whatever the server calls it. Nothing that the server sends is trusted to be short, quick, or JSON.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from jobrunner_cli.engine.errors import ConfigurationError, JobrunnerError, UnreachableError
from jobrunner_cli.engine.masking import MASK

if TYPE_CHECKING:
    import requests

    from jobrunner_cli.engine.service.breaking import Breaker

log = logging.getLogger(__name__)

#: Characters of the server's own words that a message repeats.
_MOST_WORDS = 300
#: Statuses of a POST by which the server may mean a single row of it.
_ABOUT_ROWS = frozenset({400, 409, 413, 422, 500})
_CHUNK = 1 << 16


class JobServerError(UnreachableError):
    """The job-server does not answer as it should, which says nothing about single requests."""


class JobsRefusedError(JobrunnerError):
    """The job-server refuses what it was told. `rows` says which rows of the body and why, where it said so."""

    def __init__(self, message: str, rows: Mapping[int, str]) -> None:
        super().__init__(message)
        self.rows = rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much and how long the job-server may answer; times in seconds."""

    connect: float = 10.0
    #: without a single byte that comes, or is taken
    silence: float = 60.0
    #: for a whole call, from its first byte to the last one of the answer
    call: float = 180.0
    #: after which a connection is not used again: what is between may have forgotten it without a word
    idle: float = 60.0
    #: bytes of one answer
    most_bytes: int = 64 * 2**20
    #: bytes of all pages of one listing
    most_listed_bytes: int = 256 * 2**20
    most_pages: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    content: bytes


class JobServer:
    """One conversation with a job-server; for one thread."""

    def __init__(
        self,
        *,
        endpoint: str,
        token: str,
        backend: str,
        mask: Callable[[str], str],
        user_agent: str = "jobrunner",
        limits: Limits | None = None,
    ) -> None:
        """`endpoint` ends with a slash; `mask` takes secrets out of messages. Raises ConfigurationError for the token."""
        if re.fullmatch(r"[!-~]+", token) is None:
            # The libraries below would quote it in their errors.
            msg = "JOB_SERVER_TOKEN has characters that no HTTP header may have"
            raise ConfigurationError(msg, hint="it is one word of letters, digits and punctuation")
        self._endpoint = endpoint
        self._backend = backend
        self._mask = mask
        self._limits = limits or Limits()
        self._breaker, self._session = _session(token, user_agent, self._limits.silence)
        self._called_at = time.monotonic()
        #: what it has called itself in links, and was told in the log
        self._other_hosts: set[str | None] = set()

    def job_requests(self, flags: str) -> Iterator[list[Any]]:
        """Every page of the backend's active job requests, newest first, as the server has them.

        `flags` is the header's value. Raises JobServerError, perhaps after some pages.
        """
        query: str | None = urlencode({"backend": self._backend})
        asked: set[str] = set()
        left = self._limits.most_listed_bytes
        while query is not None:
            if query in asked or len(asked) >= self._limits.most_pages:
                raise self._error("names next pages without end")
            asked.add(query)
            answer = self._call("GET", f"job-requests/?{query}", flags, most=min(left, self._limits.most_bytes))
            left -= len(answer.content)
            if answer.status != 200:
                raise self._status_error(answer)
            page = self._json(answer)
            results = page.get("results") if isinstance(page, dict) else None
            if not isinstance(results, list):
                raise self._error("answers without a list of job requests")
            yield results
            query = self._next_query(page.get("next"))

    def post_jobs(self, body: bytes, flags: str) -> None:
        """Tell the states of jobs: `body` is a JSON array. Returning means that the server has confirmed them.

        Raises JobsRefusedError if it may be about single rows, else JobServerError. Either may have been half applied.
        """
        answer = self._call("POST", "jobs/", flags, body=body, most=self._limits.most_bytes)
        if answer.status in _ABOUT_ROWS:
            raise JobsRefusedError(self._status_error(answer).message, self._refused_rows(answer))
        if answer.status != 200:
            raise self._status_error(answer)
        said = self._json(answer)
        if not isinstance(said, dict) or said.get("status") != "success":
            raise self._error(f"answers {self._words(answer)} instead of confirming")

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    # One call.

    def _call(self, method: str, path: str, flags: str, *, most: int, body: bytes | None = None) -> _Answer:
        import requests
        import urllib3

        url, headers = self._endpoint + path, {"Flags": flags}
        self._require_proxy_with_host(url)
        if body is not None:
            headers["Content-Type"] = "application/json"
        limits, response = self._limits, None
        began = time.monotonic()
        if began - self._called_at > limits.idle:
            self._session.close()
        deadline = began + limits.call
        try:
            # A server that sends a byte now and then would never run into a time-out.
            with self._breaker.within(limits.call):
                response = self._session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    timeout=(limits.connect, limits.silence),
                    allow_redirects=False,
                    stream=True,
                )
                if 300 <= response.status_code < 400:
                    raise self._redirect_error(response)
                return _Answer(status=response.status_code, content=self._read(response, most, deadline))
        # Not chained: what is below may quote the request with its headers.
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._call_error(error) from None
        finally:
            self._called_at = time.monotonic()
            if response is not None:
                response.close()

    def _require_proxy_with_host(self, url: str) -> None:
        """Raise JobServerError for a proxy without a host, of which the library says only that a type is wrong."""
        from requests.utils import select_proxy
        from urllib3.util import parse_url

        found = self._session.merge_environment_settings(url, {}, None, None, None)
        proxy = select_proxy(url, found["proxies"])
        # What cannot be parsed at all, the library names in an error of its own.
        with suppress(ValueError):
            if proxy and not parse_url(proxy).host:
                raise self._proxy_error("its address names no host")

    def _proxy_error(self, what: str) -> JobServerError:
        hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        return self._error(f"cannot be reached through the proxy: {what}", hint=hint)

    def _call_error(self, error: Exception) -> JobServerError:
        """What the libraries' error means."""
        import requests
        import urllib3

        limits, reason = self._limits, _innermost(error)
        if self._breaker.broke:
            return self._late_error()
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return self._error(f"does not answer within {limits.connect:g} s")
        if isinstance(error, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
            return self._error(f"has sent nothing for {limits.silence:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            return self._error(f"has a certificate or a TLS that is not accepted: {_words_of(reason)}")
        if isinstance(reason, TimeoutError):
            return self._error(f"has not taken what it was sent within {limits.silence:g} s")
        if type(reason) is ValueError:
            # A length that is none, in the library's words about numbers.
            return self._error("has sent an answer that breaks off, or is malformed")
        if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL):
            return self._proxy_error(_words_of(reason))
        return self._error(f"cannot be reached: {_words_of(reason)}")

    def _read(self, response: requests.Response, most: int, deadline: float) -> bytes:
        """The whole body, within the limits; `deadline` is in monotonic seconds."""
        if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
            raise self._error("answers in an encoding that it was not asked for")
        parts: list[bytes] = []
        size = 0
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            parts.append(chunk)
            size += len(chunk)
            if size > most:
                raise self._error(f"answers with more than {most} bytes")
            # The connection may be a response's alone by now, and then nobody else ends it.
            if time.monotonic() > deadline:
                raise self._late_error()
        if self._breaker.broke:
            raise self._late_error()
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) != size:
            raise self._error(f"has sent {size} bytes of an answer of {declared}")
        return b"".join(parts)

    def _next_query(self, link: object) -> str | None:
        """What to ask for next; only the link's query counts, for the address stays the configured one."""
        if link is None or link == "":
            return None
        here = urlsplit(self._endpoint)
        try:
            there = urlsplit(urljoin(self._endpoint, str(link)))
            host, query = there.hostname, parse_qsl(there.query)
        except ValueError:
            raise self._error("names a next page that cannot be read") from None
        if host != here.hostname and host not in self._other_hosts:
            # A server behind a proxy may not know by which name it is asked.
            self._other_hosts.add(host)
            log.warning(
                "%s", self._error(f"names another host, {self._own_words(str(host))}: asked here instead").message
            )
        values = dict(query)
        values["backend"] = self._backend
        return urlencode(values)

    # What the server said.

    def _json(self, answer: _Answer) -> Any:
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            raise self._error(f"answers {self._words(answer)} instead of JSON") from None

    def _refused_rows(self, answer: _Answer) -> dict[int, str]:
        """Row -> what is wrong with it, from the list that is aligned to the rows; empty if there is none."""
        try:
            listed = json.loads(answer.content)
        except (ValueError, RecursionError):
            return {}
        if answer.status != 400 or not isinstance(listed, list):
            return {}
        return {row: self._own_words(json.dumps(wrong)) for row, wrong in enumerate(listed) if wrong}

    def _status_error(self, answer: _Answer) -> JobServerError:
        hint = None
        if answer.status in {401, 403}:
            hint = "check JOB_SERVER_TOKEN and BACKEND"
        elif answer.status in {404, 405, 410}:
            hint = "check JOB_SERVER_ENDPOINT"
        return self._error(f"answers {answer.status}: {self._words(answer)}", hint=hint)

    def _late_error(self) -> JobServerError:
        return self._error(f"has not finished its answer within {self._limits.call:g} s")

    def _redirect_error(self, response: requests.Response) -> JobServerError:
        try:
            target = urlsplit(urljoin(response.url, response.headers.get("Location", "")))
            place = f"{target.scheme}://{target.hostname}{target.path}"
        except ValueError:
            place = "somewhere"
        text = (
            f"answers {response.status_code} and points to {_printable(self._mask(place))[:_MOST_WORDS]}: not followed"
        )
        return self._error(text, hint="check JOB_SERVER_ENDPOINT")

    def _words(self, answer: _Answer) -> str:
        """The gist of an answer in a few words."""
        text = answer.content[: 1 << 20].decode("utf-8", "replace").strip()
        if not text:
            return "nothing"
        if text.startswith("<"):
            title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
            return f"an HTML page ({self._own_words(title[1])})" if title and title[1].strip() else "an HTML page"
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return self._own_words(text)
        detail = said.get("detail") if isinstance(said, dict) else None
        return self._own_words(detail if isinstance(detail, str) else text)

    def _own_words(self, text: str) -> str:
        """Words of the server, fit for one line of a message. Masked before they are cut: half a secret is one, too."""
        words = " ".join(_printable(self._mask(text)).split())
        return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"

    def _error(self, what: str, hint: str | None = None) -> JobServerError:
        return JobServerError(self._mask(f"The job-server {self._endpoint} {what}"), hint=hint)


def _session(token: str, user_agent: str, silence: float) -> tuple[Breaker, requests.Session]:
    """A session that sends the token, keeps no cookies and reads proxies and certificate authorities of the environment.

    Its calls can be broken off.
    """
    import http.cookiejar

    import requests

    from jobrunner_cli.engine.service.breaking import BreakableAdapter, Breaker

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = token
        return request

    session = requests.Session()
    # As an authentication, not as a header: a .netrc entry for the host would take its place.
    session.auth = authorize
    # A cookie of the server's web pages would make it demand what browsers send along with cookies.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": user_agent})
    breaker = Breaker()
    for scheme in ("http://", "https://"):
        session.mount(scheme, BreakableAdapter(breaker, silence))
    return breaker, session


def _innermost(error: BaseException) -> BaseException:
    """The innermost reason of an error, without what the libraries above it wrap around it."""
    found: BaseException = error
    seen: set[int] = set()
    while id(found) not in seen:
        seen.add(id(found))
        wrapped = [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]
        found = next((inner for inner in wrapped if isinstance(inner, BaseException)), found)
    return found


def _words_of(error: BaseException) -> str:
    told = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    # The address of a proxy may have a password in it.
    told = re.sub(r"//[^/\s]*@", f"//{MASK}@", str(told or type(error).__name__))
    return _printable(told)[:_MOST_WORDS]


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
