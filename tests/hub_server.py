"""A Hugging Face Hub on 127.0.0.1, small but spoken to by the real huggingface_hub."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def commit_of(files: dict[str, bytes]) -> str:
    """Return the commit hash that stands for the content of some files."""
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    return digest.hexdigest()


@dataclass
class Repository:
    """All commits of a repository, the branches, and who may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False


@dataclass
class Hub:
    """The server's address, what it holds, and what it was asked for.

    `requests` holds (method, path, headers) of each request.
    """

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def commit(
        self,
        repo: str,
        files: dict[str, bytes] | Path,
        *,
        branch: str = "main",
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Make a commit of files, or of a directory; return its hash."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        repository = self.repositories.setdefault(repo, Repository())
        repository.token, repository.gated = token, gated
        commit = commit_of(files)
        repository.commits[commit] = files
        repository.branches[branch] = commit
        return commit

    def downloaded(self) -> list[str]:
        """Return the paths of files whose content was asked for."""
        return [
            path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path
        ]


class _Refusal(Exception):
    def __init__(self, status: int, code: str, commit: str | None = None) -> None:
        self.status, self.code, self.commit = status, code, commit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.command, path, headers))
        try:
            commit, content = self._find(path, headers.get("authorization"))
        except _Refusal as refusal:
            self.send_response(refusal.status)
            self.send_header("X-Error-Code", refusal.code)
            self.send_header("X-Error-Message", refusal.code)
            if refusal.commit:
                self.send_header("X-Repo-Commit", refusal.commit)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _find(self, path: str, authorization: str | None) -> tuple[str, bytes]:
        """Return the commit and the content at ``/org/name/resolve/revision/file``."""
        repo, resolve, rest = path.lstrip("/").partition("/resolve/")
        revision, _, filename = rest.partition("/")
        repository = self.hub.repositories.get(repo)
        if not resolve or repository is None:
            raise _Refusal(404, "RepoNotFound")
        if repository.token and authorization != f"Bearer {repository.token}":
            # The real Hub does not tell a private repository from one that is not there.
            raise _Refusal(403, "GatedRepo") if repository.gated else _Refusal(401, "RepoNotFound")
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise _Refusal(404, "RevisionNotFound")
        if filename not in repository.commits[commit]:
            raise _Refusal(404, "EntryNotFound", commit)
        return commit, repository.commits[commit][filename]


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server for as long as the block lasts."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
