"""How git reaches a repository: directly, through the proxy, or on this machine's disk, and who gets the token."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from jobrunner_cli.engine.errors import GitError, GitRepoNotReachableError, UsageError
from jobrunner_cli.engine.study.git import printable

#: The only host that the token is for.
GITHUB_HOST = "github.com"

#: What stands in for it on a real-data backend (section 6).
PROXY_HOST = "github-proxy.opensafely.org"

_HTTPS_PORT = 443

#: `ssh://…` and `file://…`, and `git@host:path`.
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/\s]+@[^/\s:]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAccess:
    """How git may talk to the outside."""

    #: where the mirrors live, one bare repository per URL
    repos_dir: Path
    backend: str
    #: PRIVATE_REPO_ACCESS_TOKEN
    token: str | None = field(default=None, repr=False)
    #: all traffic to the GitHub host goes to the proxy instead, and so does the token
    use_proxy: bool = False
    #: seconds for one operation, all its attempts and its wait for the mirror's lock included
    timeout: float = 900.0
    #: how often something that failed for a passing reason is tried
    attempts: int = 4
    #: seconds before the second attempt; each further wait is twice as long
    first_wait: float = 2.0
    #: `host` or `host:port`; fixed, and no setting's business
    github_host: str = GITHUB_HOST
    proxy_host: str = PROXY_HOST

    @property
    def credentials(self) -> str | None:
        """User name and token as HTTP basic authentication has them; a secret."""
        if not self.token:
            return None
        return base64.b64encode(f"jobrunner-{self.backend}:{self.token}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One repository, as git is to reach it."""

    #: the canonical URL or absolute path: what mirrors are named after and messages name
    name: str
    #: the URL or path that git gets, through its configuration
    address: str
    #: the only protocol that git may speak: `https`, `http` or `file`
    protocol: str
    #: configuration that git needs to get there; may hold the token
    config: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def is_local(self) -> bool:
        """Whether it is a repository on this machine's disk."""
        return self.protocol == "file"

    @property
    def key(self) -> str:
        """A file name for this repository: readable, and different for every other one."""
        last = self.name.rsplit("/", 1)[-1]
        readable = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:60] or "repository"
        return f"{readable}-{hashlib.sha256(os.fsencode(self.name)).hexdigest()[:16]}"


def is_url(repo_url: str) -> bool:
    """Whether this is reached over HTTP; anything else is a path."""
    return repo_url.lower().startswith(("http://", "https://"))


def refuse_other_urls(repo: str) -> None:
    """Raise UsageError for what looks like a URL that repositories are not read from, such as one of SSH."""
    if is_url(repo) or not _OTHER_URL.match(repo) or os.path.exists(repo):  # noqa: PTH110 (False for any text)
        return
    # What stands before an `@` may be a password.
    what = "this" if "@" in repo else printable(repo)
    msg = f"{what} is neither a directory nor the https URL of a repository"
    raise UsageError(msg, hint="name a directory, or a URL such as https://github.com/opensafely/a-study")


def canonical_repo_url(repo_url: str) -> str:
    """A URL without a trailing slash, or a path, made absolute if it is relative. Raises GitError if it can be neither."""
    if is_url(repo_url):
        return repo_url.rstrip("/")
    if not repo_url or "\0" in repo_url:
        raise GitError("The repository's URL or path is empty or has a NUL character in it")
    try:
        os.fsencode(repo_url)
    except UnicodeEncodeError:
        raise GitError("The repository's path has characters in it that are not text") from None
    path = Path(repo_url)
    try:
        return str(path if path.is_absolute() else path.resolve())
    except (OSError, RuntimeError) as error:
        # Links in a circle, or a working directory that is gone.
        msg = f"The repository's path {repo_url} leads nowhere: {error}"
        raise GitError(msg) from None


def reach(repo_url: str, access: GitAccess) -> Remote:
    """How to reach this repository. Raises GitError if the URL is not one to fetch from."""
    name = canonical_repo_url(repo_url)
    if not is_url(name):
        return Remote(name=name, address=name, protocol="file", config=())
    parts = _checked(name)
    host = _host(parts)
    trusted = _default_port(access.github_host)
    address = name
    if host == trusted and access.use_proxy:
        address = f"https://{access.proxy_host}{parts.path}"
        trusted = host = _default_port(access.proxy_host)
    protocol = address.partition(":")[0].lower()
    config: tuple[tuple[str, str], ...] = ()
    # With the proxy, GitHub itself is never reached, so the token has no second place to go to.
    if host == trusted and protocol == "https" and access.credentials is not None:
        config = ((f"http.https://{host}/.extraHeader", f"Authorization: Basic {access.credentials}"),)
    return Remote(name=name, address=address, protocol=protocol, config=config)


def require_local_repository(remote: Remote) -> None:
    """Raise GitRepoNotReachableError, in words, unless the path is the top of a repository, bare or not."""
    path = Path(remote.name)
    shown = printable(remote.name)
    # Unlike a path's own method this says False for a name that is too long for a file.
    if not os.path.exists(path):  # noqa: PTH110
        raise GitRepoNotReachableError(f"There is no directory {shown}", hint="Check the path of the repository.")
    if not path.is_dir():
        raise GitRepoNotReachableError(f"{shown} is not a directory", hint="Give the directory of the repository.")
    if (path / ".git").exists() or ((path / "HEAD").exists() and (path / "objects").is_dir()):
        return
    for parent in path.parents:
        if (parent / ".git").exists():
            raise GitRepoNotReachableError(
                f"{shown} is not a git repository but a directory of one",
                hint=f"Give the repository's own directory: {printable(str(parent))}",
            )
    raise GitRepoNotReachableError(
        f"{shown} is not a git repository", hint="Make it one with `git init` and commit the study's files."
    )


def serving_config(remote: Remote) -> str:
    """The configuration file under which git serves the local repository to us.

    It says that this repository may be read whoever owns it, and that any commit of it may be asked for, without
    its files. The serving process reads neither our environment's configuration nor our command line's.
    """
    real = os.path.realpath(remote.name)
    places = dict.fromkeys((remote.name, f"{remote.name}/.git", real, f"{real}/.git"))
    lines = ["[safe]", *(f"\tdirectory = {_quoted(place)}" for place in places)]
    lines += ["[uploadpack]", "\tallowAnySHA1InWant = true", "\tallowFilter = true"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _checked(url: str) -> SplitResult:
    """The parts of a URL that names a repository and nothing else; the error never shows what may be a password."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise GitError("The repository's URL has a character that URLs do not have")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise GitError("The repository's URL cannot be read") from None
    if "@" in parts.netloc:
        raise GitError(
            "The repository's URL has a user name or password in it",
            hint="Leave them out; PRIVATE_REPO_ACCESS_TOKEN is how private repositories are read.",
        )
    if not parts.hostname or parts.query or parts.fragment or not parts.path.strip("/"):
        raise GitError(f"{printable(url)} is not the URL of a repository")
    return parts


def _host(parts: SplitResult) -> str:
    """Host and port in lower case, the port left out where it is the protocol's own."""
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    default = _HTTPS_PORT if parts.scheme == "https" else 80
    return host if parts.port in {None, default} else f"{host}:{parts.port}"


def _default_port(host: str) -> str:
    return host.lower().removesuffix(f":{_HTTPS_PORT}")
