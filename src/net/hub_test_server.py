"""A hub on loopback for hub_test.cc: the protocol, and its faults by the repository's name.

Prints its port, then serves until standard input closes. GET /log gives what was asked, as JSON lines.
Repositories: ok/model, ok/<fault> with fault one of drop (breaks off in mid file, ranges work), norange,
flaky (429 then 500 before each file), wrong (content is not its hash), elsewhere (files lie at another
host; it notes the tokens it gets), gated, private (404 without token), evil (a name with ..), moved
(a relative redirect), longer (sends more than it promised).
"""
import hashlib
import http.server
import json
import random
import sys
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "sub/tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": random.Random(1).randbytes(300_000),
    "pytorch_model.bin": b"never asked for",
    "onnx/model.json": b"{}",
}
LARGE = "model.safetensors"
log, tries = [], {}


def etag(path):
    data = FILES[path]
    if path == LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    other = 0

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b"", length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET = lambda self: self.serve()

    def serve(self):
        if self.path == "/log":
            return self.answer(200, body="".join(json.dumps(x) + "\n" for x in log).encode())
        here = self.server.server_address[1]
        token = self.headers.get("Authorization")
        log.append({"method": self.command, "path": self.path, "port": here, "token": token, "range": self.headers.get("Range")})
        parts = self.path.strip("/").split("/")
        if parts[0] == "cdn":
            return self.send_file(parts[1], "/".join(parts[2:]))
        if parts[:2] == ["api", "models"]:
            repo, revision = "/".join(parts[2:4]), parts[5]
            fault = repo.split("/")[1]
            if repo.split("/")[0] != "ok":
                return self.answer(404, [("X-Error-Code", "RepoNotFound")])
            if fault == "gated":
                return self.answer(403, [("X-Error-Code", "GatedRepo")])
            if fault == "private" and token != "Bearer secret":
                return self.answer(401, [("X-Error-Code", "RepoNotFound")])
            if revision not in ("main", COMMIT, "refs%2Fpr%2F3"):
                return self.answer(404, [("X-Error-Code", "RevisionNotFound")])
            names = list(FILES) + (["../../evil.json"] if fault == "evil" else [])
            return self.answer(200, body=json.dumps({"sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}).encode())
        repo, path = "/".join(parts[:2]), "/".join(parts[4:])
        fault = repo.split("/")[1]
        if parts[2] != "resolve" or parts[3] != COMMIT or path not in FILES:
            return self.answer(404, [("X-Error-Code", "EntryNotFound")])
        if fault == "moved":
            return self.answer(307, [("Location", "/ok/model/" + "/".join(parts[2:]))])
        if fault == "flaky" and self.command == "HEAD":
            n = tries[path] = tries.get(path, 0) + 1
            if n <= 2:
                return self.answer(429 if n == 1 else 500, [("Retry-After", "0")] if n == 1 else [])
        headers = [("X-Repo-Commit", COMMIT)]
        if path == LARGE:
            headers += [("X-Linked-Etag", f'"{etag(path)}"'), ("X-Linked-Size", str(len(FILES[path])))]
            port = Hub.other if fault == "elsewhere" else here
            return self.answer(302, [*headers, ("ETag", '"not this"'), ("Location", f"http://127.0.0.1:{port}/cdn/{fault}/{path}")])
        if self.command == "GET":
            return self.answer(200, [*headers, ("ETag", f'W/"{etag(path)}"')], FILES[path])
        self.answer(200, [*headers, ("ETag", f'W/"{etag(path)}"')], length=len(FILES[path]))

    def send_file(self, fault, path):
        data = FILES[path]
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault == "longer":
            data += b"x" * 100_000
        first = 0
        if self.headers.get("Range") and fault != "norange":
            first = int(self.headers["Range"].split("=")[1].split("-")[0])
        part = data[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if fault in ("drop", "norange"):
            n = tries[fault] = tries.get(fault, 0) + 1
            if n <= (2 if fault == "drop" else 1):
                self.wfile.write(part[: 100_000])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
        self.wfile.write(part)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # the client hung up


servers = [Server(("127.0.0.1", 0), Hub) for _ in range(2)]
Hub.other = servers[1].server_address[1]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(servers[0].server_address[1], flush=True)
sys.stdin.read()
