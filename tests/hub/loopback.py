"""A Hub on this machine, for the real huggingface_hub client to talk to.

It keeps repos, branches, tags, pull requests and commits in memory, takes regular and LFS uploads, lists and searches,
and asks for tokens. Tests inject faults and read the log of requests.
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
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKENS = {"hf_alice": "alice", "hf_bob": "bob"}
_LFS_BYTES = 2_000  # real files of a test are small


@dataclass
class Commit:
    """One commit: what it is called, what it came from, and every file of it."""

    sha: str
    parent: str | None
    message: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """One repo and its history."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    pull_requests: int = 0

    def commit(self, ref: str, files: dict[str, bytes], message: str, parent: str | None) -> Commit:
        """Put a commit on a ref."""
        content = json.dumps([self.name, parent, message, {k: hashlib.sha1(v).hexdigest() for k, v in files.items()}])
        commit = Commit(hashlib.sha1(content.encode()).hexdigest(), parent, message, files)
        self.commits[commit.sha] = commit
        self.refs[ref] = commit.sha
        return commit

    def resolve(self, revision: str) -> Commit | None:
        """Return the commit of a branch, a tag, a pull request, or a whole or short sha."""
        sha = self.refs.get(revision) or next((s for s in self.commits if s.startswith(revision)), None)
        return self.commits.get(sha) if sha and (revision in self.refs or len(revision) >= 7) else None


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    Args:
        pattern: Regular expression over ``"METHOD path"``.
        status: HTTP status to answer with, or ``None`` to cut the connection.
        headers: Of the answer.
        times: How often.
        body_bytes: Answer as usual, but cut the connection after so many bytes of the body.
    """

    pattern: str
    status: int | None = 503
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    body_bytes: int | None = None


class _Answer(Exception):
    """Ends the handling of a request."""

    def __init__(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


class LoopbackHub:
    """The Hub: its repos, and a web server in threads of this process.

    Attributes:
        url: What to set ``HF_ENDPOINT`` to.
        repos: By kind (``"model"``, ``"dataset"``) and name.
        objects: LFS objects by sha256.
        log: Every request, as ``"METHOD path"``.
        faults: What is to go wrong.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[str] = []
        self.faults: list[Fault] = []
        self.before_commit: Callable[[], None] | None = None
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], kind: str = "model", **kwargs: bool) -> Repo:
        """Make a repo with one commit on main."""
        repo = self.repos[kind, name] = Repo(kind, name, **kwargs)
        repo.commit("main", files, "initial commit", None)
        return repo

    def take_fault(self, request: str) -> Fault | None:
        """Return the fault that this request runs into, and count it."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    @contextmanager
    def no_requests(self) -> Iterator[None]:
        """Fail if anything is asked within."""
        before = len(self.log)
        yield
        assert self.log[before:] == []


_ROUTES: list[tuple[str, str, str]] = [
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("GET", r"/api/whoami-v2", "whoami"),
    ("GET", r"/api/(?P<kind>models|datasets)", "search"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/preupload/(?P<rev>[^?]+)", "preupload"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/commit/(?P<rev>[^?]+)", "commit"),
    ("POST", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/(?P<what>tag|branch)/(?P<rev>[^?]+)", "make_ref"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/tree/(?P<rev>[^/?]+)", "tree"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/refs", "list_refs"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/revision/(?P<rev>[^?]+)", "info"),
    ("GET", r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)", "info"),
    ("POST", r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("GET", r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<rev>refs%2Fpr%2F\d+|[^/]+)/(?P<path>.+)", "file"),
]


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._handle("GET")

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def _handle(self, method: str) -> None:
        body = self._read_body()
        request = f"{method} {self.path}"
        with self.hub.lock:
            self.hub.log.append(request)
        fault = self.hub.take_fault(request)
        try:
            if fault is not None and fault.body_bytes is None:
                if fault.status is None:
                    self.close_connection = True
                    return
                raise _Answer(fault.status, {"error": "injected"}, fault.headers)
            url = urlsplit(self.path)
            self.query = parse_qs(url.query)
            for verb, pattern, name in _ROUTES:
                if verb in (method, "GET" if method == "HEAD" else method) and (
                    match := re.fullmatch(pattern, url.path)
                ):
                    hook = self.hub.before_commit
                    if name == "commit" and hook is not None:  # without the lock: it may talk to the Hub itself
                        self.hub.before_commit = None
                        hook()
                    groups = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                    with self.hub.lock:
                        answer = getattr(self, f"_{name}")(body, **groups)
                    raise _Answer(200, answer)
            raise _Answer(404, {"error": "no such page"})
        except _Answer as answer:
            self._send(answer, method, fault.body_bytes if fault is not None else None)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: _Answer, method: str, cut_after: int | None) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if method != "HEAD":
            self.wfile.write(body if cut_after is None else body[:cut_after])
            self.close_connection = cut_after is not None

    # ---- who may do what ------------------------------------------------------------------------------------------

    @property
    def _user(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in TOKENS:
            raise _Answer(401, {"error": "Invalid credentials in Authorization header"})
        return TOKENS.get(token)

    def _repo(self, kind: str | None, name: str, write: bool = False) -> Repo:
        user = self._user
        repo = self.hub.repos.get(("dataset" if (kind or "").startswith("dataset") else "model", name))
        if repo is None or (repo.private and user != name.split("/")[0]):
            raise _Answer(404 if user else 401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if write and user != name.split("/")[0]:
            raise _Answer(403 if user else 401, {"error": "Forbidden: you have no write access to this repo"})
        return repo

    def _at(self, repo: Repo, revision: str) -> Commit:
        commit = repo.resolve(revision)
        if commit is None:
            raise _Answer(404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"})
        return commit

    # ---- pages ----------------------------------------------------------------------------------------------------

    def _create(self, body: bytes) -> dict:
        user, wanted = self._user, json.loads(body)
        if user is None:
            raise _Answer(401, {"error": "Unauthorized"})
        owner = wanted.get("organization") or user
        kind, name = wanted.get("type") or "model", f"{owner}/{wanted['name']}"
        prefix = "datasets/" if kind == "dataset" else ""
        url = f"{self.hub.url}/{prefix}{name}"
        if owner != user:
            raise _Answer(403, {"error": f"Forbidden: you may not create repos under {owner}"})
        if (kind, name) in self.hub.repos:
            raise _Answer(409, {"error": "You already created this repo", "url": url})
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.add(name, {".gitattributes": b""}, kind, private=private)
        return {"url": url, "name": name}

    def _validate(self, body: bytes) -> dict:
        return {"errors": [], "warnings": []}

    def _whoami(self, body: bytes) -> dict:
        if self._user is None:
            raise _Answer(401, {"error": "Unauthorized"})
        return {"name": self._user, "type": "user", "auth": {"accessToken": {"role": "write"}}}

    def _preupload(self, body: bytes, kind: str, name: str, rev: str) -> dict:
        commit = self._at(self._repo(kind, name), rev)
        files = []
        for file in json.loads(body)["files"]:
            old = commit.files.get(file["path"])
            mode = "lfs" if file["size"] > _LFS_BYTES else "regular"
            oid = None if old is None else hashlib.sha256(old).hexdigest() if mode == "lfs" else _git_sha(old)
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": files}

    def _lfs_batch(self, body: bytes, name: str, kind: str | None = None) -> dict:
        self._repo(kind, name)  # anyone may upload for a pull request
        if self._user is None:
            raise _Answer(401, {"error": "Unauthorized"})
        objects = []
        for item in json.loads(body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}", "header": {}}}
            known = item["oid"] in self.hub.objects
            objects.append({"oid": item["oid"], "size": item["size"], **({} if known else {"actions": upload})})
        return {"transfer": "basic", "objects": objects}

    def _lfs_put(self, body: bytes, oid: str) -> dict:
        if hashlib.sha256(body).hexdigest() != oid:
            raise _Answer(400, {"error": "another checksum"})
        self.hub.objects[oid] = body
        return {}

    def _commit(self, body: bytes, kind: str, name: str, rev: str) -> dict:
        creates = "create_pr" in self.query and self.query["create_pr"] != ["0"]
        repo = self._repo(kind, name, write=not creates)
        parent = self._at(repo, rev)
        files, header = dict(parent.files), {}
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        if (expected := header.get("parentCommit")) and expected != parent.sha:
            raise _Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        ref, url = rev, None
        if creates:
            repo.pull_requests += 1
            ref = f"refs/pr/{repo.pull_requests}"
            url = f"{self.hub.url}/{name}/discussions/{repo.pull_requests}"
        commit = repo.commit(ref, files, header.get("summary", ""), parent.sha)
        prefix = "datasets/" if repo.kind == "dataset" else ""
        answer = {"commitUrl": f"{self.hub.url}/{prefix}{name}/commit/{commit.sha}", "commitOid": commit.sha}
        return answer | ({"pullRequestUrl": url} if url else {})

    def _make_ref(self, body: bytes, kind: str, name: str, what: str, rev: str) -> dict:
        repo = self._repo(kind, name, write=True)
        wanted = json.loads(body or b"{}")
        ref, start = (wanted["tag"], rev) if what == "tag" else (rev, wanted.get("startingPoint") or "main")
        if ref in repo.refs:
            raise _Answer(409, {"error": f"{what} exists already"})
        repo.refs[ref] = self._at(repo, start).sha
        return {}

    def _list_refs(self, body: bytes, kind: str, name: str) -> dict:
        refs = self._repo(kind, name).refs
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": s} for n, s in refs.items()]
        return {"branches": branches, "tags": [], "converts": [], "pullRequests": []}

    def _tree(self, body: bytes, kind: str, name: str, rev: str) -> list:
        tree = []
        for path, data in self._at(self._repo(kind, name), rev).files.items():
            entry: dict = {"type": "file", "path": path, "size": len(data), "oid": _git_sha(data)}
            if len(data) > _LFS_BYTES:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            tree.append(entry)
        return tree

    def _info(self, body: bytes, kind: str, name: str, rev: str = "main") -> dict:
        repo = self._repo(kind, name)
        return self._describe(repo, self._at(repo, rev))

    def _describe(self, repo: Repo, commit: Commit) -> dict:
        card = _metadata(commit.files.get("README.md", b""))
        tags = [*card.get("tags", [])]
        base = card.get("base_model")
        for model in [base] if isinstance(base, str) else base or []:
            tags += [f"base_model:{model}", f"base_model:{card.get('base_model_relation', 'finetune')}:{model}"]
        if card.get("library_name"):
            tags.append(card["library_name"])
        if card.get("license"):
            tags.append(f"license:{card['license']}")
        files = [{"rfilename": path} for path in commit.files]
        keys = {"id": repo.name, "modelId": repo.name, "sha": commit.sha, "private": repo.private, "tags": tags}
        return keys | {"cardData": card, "siblings": files, "gated": repo.gated, "downloads": 0, "likes": 0}

    def _search(self, body: bytes, kind: str) -> list:
        user, found = self._user, []
        for (repo_kind, name), repo in self.hub.repos.items():
            if f"{repo_kind}s" != kind or (repo.private and user != name.split("/")[0]):
                continue
            described = self._describe(repo, self._at(repo, "main"))
            wanted = [tag for value in self.query.get("filter", []) for tag in value.split(",")]
            if not set(wanted) <= set(described["tags"]):
                continue
            if (author := self.query.get("author")) and name.split("/")[0] != author[0]:
                continue
            if (text := self.query.get("search")) and text[0].lower() not in name.lower():
                continue
            found.append(described)
        return found[: int(self.query.get("limit", ["1000"])[0])]

    def _file(self, body: bytes, name: str, rev: str, path: str, kind: str | None = None) -> None:
        repo = self._repo(kind, name)
        if repo.gated and self._user != name.split("/")[0]:
            raise _Answer(403, {"error": "Access to this repo is restricted"}, {"X-Error-Code": "GatedRepo"})
        commit = self._at(repo, rev)
        data = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.sha}
        if data is None:
            raise _Answer(404, {"error": "Entry not found"}, headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{hashlib.sha256(data).hexdigest() if len(data) > _LFS_BYTES else _git_sha(data)}"'
        headers["X-Linked-Size"] = str(len(data))
        begin = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if begin is None:
            raise _Answer(200, data, headers)
        start, stop = int(begin[1]), int(begin[2]) + 1 if begin[2] else len(data)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        raise _Answer(206, data[start:stop], headers)


def _git_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _metadata(readme: bytes) -> dict:
    match = re.match(r"---\n(.*?)\n---", readme.decode("utf-8", "replace"), re.DOTALL)
    return (yaml.safe_load(match[1]) or {}) if match else {}
