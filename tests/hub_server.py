"""A Hugging Face Hub on 127.0.0.1, small but spoken to by the real huggingface_hub.

Large files (`LARGE`) lie on a second port, as they do on another host in reality: a
request for one is redirected there, and an upload goes there, by git's LFS protocol.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = (".safetensors", ".bin", ".pt")
LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-sa-4.0", "other", "unknown"}


def commit_of(files: dict[str, bytes]) -> str:
    """Return the commit hash that stands for the content of some files."""
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    return digest.hexdigest()


def etag_of(name: str, content: bytes) -> str:
    """Return git's hash of a file, or the SHA-256 of a large one."""
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """All commits of a repository, the branches, and who may read it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    visibility: str | None = None


@dataclass
class Fault:
    """What goes wrong with the next requests whose path ends in `path`."""

    path: str
    times: int
    status: int | None = None
    cut_after: int | None = None
    methods: tuple[str, ...] = ("HEAD", "GET", "POST", "PUT")


@dataclass
class Hub:
    """The server's address, what it holds, and what it was asked for.

    `requests` holds (method, path, headers) of each request; `users` maps a token to a
    user's name, and `readers` are the tokens that may not write.
    """

    url: str
    large_url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    after: Callable[[str, str], None] | None = None

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
        return self.store(repository, branch, files)

    def store(self, repository: Repository, branch: str, files: dict[str, bytes]) -> str:
        """Point a branch at a commit of these files."""
        commit = commit_of(files)
        repository.commits[commit] = files
        repository.branches[branch] = commit
        return commit

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        """Return what a branch holds."""
        repository = self.repositories[repo]
        return repository.commits[repository.branches[branch]]

    def downloaded(self) -> list[str]:
        """Return the paths of files whose content was asked for."""
        return [
            path
            for method, path, headers in self.requests
            if method == "GET" and "/resolve/" in path and "range" not in headers
        ]


class _Refusal(Exception):
    def __init__(
        self, status: int, code: str = "", commit: str | None = None, message: str = ""
    ) -> None:
        self.status, self.code, self.commit = status, code, commit
        self.message = message or code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.place, self.query = unquote(parts.path), parse_qs(parts.query)
        self.given = {name.lower(): value for name, value in self.headers.items()}
        self.body = self.rfile.read(int(self.given.get("content-length", 0)))
        self.hub.requests.append((self.command, self.place, self.given))
        self.fault = self._next_fault()
        try:
            if self.fault is not None and self.fault.status is not None:
                raise _Refusal(self.fault.status)
            self._route()
        except _Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            if refusal.commit:
                headers["X-Repo-Commit"] = refusal.commit
            self._send(b"", refusal.status, {k: v for k, v in headers.items() if v})
        if self.hub.after is not None:
            self.hub.after(self.command, self.place)

    def _next_fault(self) -> Fault | None:
        for fault in self.hub.faults:
            if self.place.endswith(fault.path) and self.command in fault.methods and fault.times:
                fault.times -= 1
                return fault
        return None

    def _send(
        self, content: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault is not None and self.fault.cut_after is not None:
            self.wfile.write(content[: self.fault.cut_after])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _send_json(self, values: Any, status: int = 200) -> None:
        self._send(json.dumps(values).encode(), status, {"Content-Type": "application/json"})

    def _json(self) -> Any:
        return json.loads(self.body)

    # Routes ---------------------------------------------------------------------------

    def _route(self) -> None:
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("PUT", r"/large/upload/(\w+)", self._receive_object),
            ("GET", r"/large/(\w+)/.+", self._send_object),
            ("POST", r"/api/repos/create", self._create_repository),
            ("POST", r"/api/validate-yaml", self._validate_card),
            ("POST", r"/api/models/(.+?)/preupload/(.+)", self._say_how_to_upload),
            ("POST", r"/api/models/(.+?)/branch/(.+)", self._create_branch),
            ("POST", r"/api/models/(.+?)/commit/(.+)", self._commit),
            ("POST", r"/(.+)\.git/info/lfs/objects/batch", self._say_where_to_upload),
            ("POST", r"/(.+)\.git/info/lfs/verify", self._verify_object),
            ("GET", r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self._describe),
            ("HEAD|GET", r"/(.+)/resolve/(.+)/([^/]+)", self._send_file),
        ]
        for methods, pattern, answer in routes:
            match = re.fullmatch(pattern, self.place)
            if match and self.command in methods.split("|"):
                return answer(*match.groups())
        raise _Refusal(404, "RepoNotFound")

    # Reading --------------------------------------------------------------------------

    def _readable(self, repo: str) -> Repository:
        repository = self.hub.repositories.get(repo)
        if repository is None:
            raise _Refusal(404, "RepoNotFound")
        if repository.token and self.given.get("authorization") != f"Bearer {repository.token}":
            # The real Hub does not tell a private repository from one that is not there.
            raise _Refusal(403, "GatedRepo") if repository.gated else _Refusal(401, "RepoNotFound")
        return repository

    def _files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repository = self._readable(repo)
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            raise _Refusal(404, "RevisionNotFound")
        return commit, repository.commits[commit]

    def _send_file(self, repo: str, revision: str, filename: str) -> None:
        commit, files = self._files(repo, revision)
        if filename not in files:
            raise _Refusal(404, "EntryNotFound", commit)
        content, headers = files[filename], {"X-Repo-Commit": commit}
        etag = etag_of(filename, content)
        if filename.endswith(LARGE):
            self.hub.objects[etag] = content
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            headers["Location"] = f"{self.hub.large_url}/large/{etag}{self.place}"
            self._send(b"", 302, headers)
        else:
            self._send(content, 200, {**headers, "ETag": f'"{etag}"'})

    def _send_object(self, oid: str) -> None:
        content = self.hub.objects[oid]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.given.get("range", ""))
        if wanted is None:
            self._send(content)
            return
        start = int(wanted[1])
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(content[start:], 206, {"Content-Range": place})

    def _describe(self, repo: str, revision: str | None) -> None:
        commit, files = self._files(repo, revision or "main")
        siblings = [{"rfilename": name} for name in sorted(files)]
        repository = self.hub.repositories[repo]
        private = repository.visibility == "private" or repository.token is not None
        self._send_json({"id": repo, "sha": commit, "private": private, "siblings": siblings})

    # Writing --------------------------------------------------------------------------

    def _user(self) -> str:
        token = self.given.get("authorization", "").removeprefix("Bearer ")
        if token not in self.hub.users:
            message = "Invalid credentials in Authorization header" if token else ""
            raise _Refusal(401, message=message)
        return self.hub.users[token]

    def _writable(self, repo: str) -> Repository:
        self._user()
        repository = self.hub.repositories.get(repo)
        if repository is None:
            raise _Refusal(404, "RepoNotFound")
        token = self.given["authorization"].removeprefix("Bearer ")
        if token in self.hub.readers and "create_pr" not in self.query:
            raise _Refusal(403, message="You have no write access to this model")
        return repository

    def _create_repository(self) -> None:
        user, values = self._user(), self._json()
        repo = f"{values.get('organization') or user}/{values['name']}"
        url = {"url": f"{self.hub.url}/{repo}"}
        if repo in self.hub.repositories:
            self._send_json(url, 409)
            return
        if self.given["authorization"].removeprefix("Bearer ") in self.hub.readers:
            raise _Refusal(403, message="You may not create a model here")
        repository = Repository(visibility=values.get("visibility"))
        self.hub.repositories[repo] = repository
        self.hub.store(repository, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self._send_json(url)

    def _create_branch(self, repo: str, branch: str) -> None:
        repository = self._writable(repo)
        if branch in repository.branches:
            raise _Refusal(409)
        repository.branches[branch] = repository.branches["main"]
        self._send_json({})

    def _validate_card(self) -> None:
        text = self._json()["content"].split("---\n")[1]
        try:
            values = yaml.safe_load(text)
            wrong = [] if values.get("license", "unknown") in LICENCES else ["license"]
        except yaml.YAMLError as error:
            wrong = [str(error)]
        errors = [{"message": f"{item} is not valid"} for item in wrong]
        self._send_json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _say_how_to_upload(self, repo: str, revision: str) -> None:
        repository = self._writable(repo)
        if revision not in repository.branches:
            raise _Refusal(404, "RevisionNotFound")
        there = self.hub.files(repo, revision)
        self._send_json({"files": [_plan(item["path"], there) for item in self._json()["files"]]})

    def _say_where_to_upload(self, repo: str) -> None:
        self._user()
        objects = []
        for item in self._json()["objects"]:
            if item["oid"] not in self.hub.objects:
                item["actions"] = {
                    "upload": {"href": f"{self.hub.large_url}/large/upload/{item['oid']}"},
                    "verify": {"href": f"{self.hub.url}/{repo}.git/info/lfs/verify"},
                }
            objects.append(item)
        self._send_json({"transfer": "basic", "objects": objects})

    def _receive_object(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refusal(400, message="The content has another hash")
        self.hub.objects[oid] = self.body
        self._send(b"")

    def _verify_object(self, repo: str) -> None:
        if self._json()["oid"] not in self.hub.objects:
            raise _Refusal(404)
        self._send_json({})

    def _commit(self, repo: str, revision: str) -> None:
        repository = self._writable(repo)
        files, message = dict(self.hub.files(repo, revision)), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        number = sum(branch.startswith("refs/pr/") for branch in repository.branches) + 1
        asked = "create_pr" in self.query
        oid = self.hub.store(repository, f"refs/pr/{number}" if asked else revision, files)
        repository.messages[oid] = message
        answer = {"commitUrl": f"{self.hub.url}/{repo}/commit/{oid}", "commitOid": oid}
        if asked:
            answer["pullRequestUrl"] = f"{self.hub.url}/{repo}/discussions/{number}"
        self._send_json(answer)


def _plan(path: str, there: dict[str, bytes]) -> dict[str, Any]:
    oid = etag_of(path, there[path]) if path in there else None
    mode = "lfs" if path.endswith(LARGE) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


@contextmanager
def serving() -> Iterator[Hub]:
    """Run the server for as long as the block lasts."""
    handler = type("Handler", (_Handler,), {})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    urls = [f"http://127.0.0.1:{server.server_port}" for server in servers]
    handler.hub = hub = Hub(*urls)
    threads = []
    for server in servers:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        threads.append(thread)
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
