"""A local server that breaks off, truncates and serves wrong content."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        requested = self.headers.get("Range")
        server.requests.append((self.path, requested))
        fault = server.faults.pop(0) if server.faults else None
        content = server.files.get(self.path.lstrip("/"))
        if fault == "hang":
            server.finished.wait(5)
            return None
        if fault == "babble":
            self.close_connection = True
            self.wfile.write(b"What?\r\n\r\n")
            return None
        if isinstance(fault, int) or content is None:
            return self.answer(fault if content is not None else 404, b"")
        if fault == "wrong":
            content = content[::-1]
        if fault == "truncate":  # with the length of this part
            content = content[: len(content) // 2]
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        if fault == "ignore range":
            start = 0
        if start and start >= len(content):
            return self.answer(416, b"")
        code, headers = 200, {}
        if start:
            shift = 1 if fault == "shift" else 0
            content = content[start - shift :]
            code = 206
            headers["Content-Range"] = f"bytes {start - shift}-/*"
        send = content[: len(content) // 2] if fault == "break" else content
        return self.answer(code, send, len(content), headers)

    def answer(self, code, content, length=None, headers=()):
        self.close_connection = True
        self.send_response(code)
        self.send_header("Connection", "close")
        if "no length" not in self.server.habits:
            self.send_header(
                "Content-Length", str(len(content) if length is None else length)
            )
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.server.sent.append(len(content))


@pytest.fixture
def server(monkeypatch):
    """Return a server with `files`, and `faults` for the next answers, one each."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.files, http.faults, http.habits = {}, [], set()
        http.requests, http.sent = [], []
        http.finished = threading.Event()
        http.url = f"http://127.0.0.1:{http.server_port}/"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield http
        http.finished.set()
        http.shutdown()
        thread.join()
