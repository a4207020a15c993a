"""A small Hugging Face hub on this machine: repositories are folders ``root/organisation/name``."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve_hub(root: Path, gated: tuple[str, ...] = (), break_after: int | None = None) -> Iterator[tuple[str, list]]:
    """Serve `root`; gives the address, and the list of requests as (method, path, range) that fills up meanwhile.

    Args:
        gated: repositories whose files are refused.
        break_after: cut the first transfer of a file after so many bytes.
    """
    requests: list[tuple[str, str, str | None]] = []
    cuts = [break_after] if break_after is not None else []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            requests.append((self.command, path, self.headers.get("Range")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and len(parts) > 3:
                self.api("/".join(parts[2:4]), parts[4] if len(parts) > 4 else "")
            elif "resolve" in parts:
                self.file("/".join(parts[:2]), root.joinpath(*parts[:2], *parts[4:]))
            else:
                self.answer(404, b"{}")

        do_HEAD = do_GET

        def api(self, repository: str, what: str) -> None:
            folder = root / repository
            if not folder.is_dir():
                return self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
            names = [(p.relative_to(folder).as_posix(), p.stat().st_size, etag(p)) for p in files]
            if what == "tree":
                body = [{"type": "file", "path": n, "size": size, "oid": tag} for n, size, tag in names]
            else:
                body = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": n} for n, _, _ in names]}
            self.answer(200, json.dumps(body).encode())

        def file(self, repository: str, path: Path) -> None:
            if repository in gated:
                return self.answer(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            if not path.is_file():
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            content = path.read_bytes()
            headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            asked = self.headers.get("Range")
            if asked:
                first = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
                content = content[first:]
            cut = self.command == "GET" and len(content) > 100_000 and bool(cuts)
            self.answer(206 if asked else 200, content, headers, cuts.pop() if cut else None)

        def answer(self, code: int, body: bytes, headers: dict | None = None, cut: int | None = None) -> None:
            self.send_response(code)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
