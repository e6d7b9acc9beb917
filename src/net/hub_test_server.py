"""A hub on loopback for hub_test.cc: the protocol, and its faults by the repository's name.

Prints three ports (the hub, another host for content, the hub over TLS or 0), then serves until
standard input closes. One argument: a PEM file with certificate and key for the TLS one.
GET /log gives what was asked, as JSON lines.

Repositories are ok/<fault>; model has none. In the file list: gated, private (401 without token),
evil (a name with ..), escape (a name with a terminal's escape code), pickle (no weights but .bin),
other (another commit than the one asked for), api (an absolute redirect to the other host).
In the metadata: flaky (429 then 500 before each file), moved (a relative redirect), newetag (content and
its ETag change after the first download broke off), nohash (an ETag that is no hash), plain (no redirect for
the large file), downgrade (from TLS to plain HTTP), loop (redirects without end). In the content of the
large file: drop (breaks off twice, ranges work), wrong (content is not its hash), elsewhere (at another
host), longer (more than promised), norange (ranges are ignored), norangedrop (and broken off too),
halferror (a 503 whose page breaks off), badrange (a range that is not the one asked for), stall (stands
still), slow (takes .4 s), expired (the first address answers 403). Those of OTHER have files of their own.
"""
import hashlib
import http.server
import json
import random
import ssl
import sys
import threading
import time

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "sub/tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": random.Random(1).randbytes(300_000),
    "pytorch_model.bin": b"never asked for",
    "onnx/model.json": b"{}",
}
LLAMA, BERT = b'{"model_type": "llama"}', b'{"model_type": "bert"}'
QUANTS = {f"m-{q}.gguf": b"GGUF" + q.encode() for q in ("F16", "IQ4_K_M", "Q2_K", "Q4_K", "Q8_0", "mmproj-Q4_K_M")}
# Repositories with other files, by name.
OTHER = {
    "quants": {"README.md": b"x", "config.json": BERT, **QUANTS, "m-Q4_K_M.gguf": b"GGUFQ4_K_M"},
    "noquant4": {"README.md": b"x", **QUANTS},
    "split": {f"{q}/m-{q}-0000{i}-of-00002.gguf": b"GGUF%d" % i + q.encode() for q in ("Q5_K_M", "Q8_0") for i in (1, 2)},
    "both": {"config.json": LLAMA, "model.safetensors": b"st", "m-Q8_0.gguf": b"GGUF"},
    "bert": {"config.json": BERT, "model.safetensors": b"st", "tokenizer.json": b"{}"},
    "falcongguf": {"m-Q8_0.gguf": b"GGUF"},
    "adapter": {"adapter_config.json": b"{}", "adapter_model.safetensors": b"st", "config.json": BERT},
    "same": {"config.json": LLAMA, "sub/config.json": LLAMA, "model.safetensors": b"st"},
}
CHANGED = random.Random(2).randbytes(300_000)
LARGE = "model.safetensors"
log, tries = [], {}


def count(key):
    tries[key] = tries.get(key, 0) + 1
    return tries[key]


def files(fault):
    return OTHER.get(fault, FILES)


def content(fault, path):
    return CHANGED if path == LARGE and fault == "newetag" and tries.get("newetag") else files(fault)[path]


def etag(fault, path):
    data = content(fault, path)
    if path == LARGE:
        return "abc-2" if fault == "nohash" else hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    main = other = 0

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

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

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
            return self.send_list("/".join(parts[2:4]), parts[5], here, token)
        repo, path = "/".join(parts[:2]), "/".join(parts[4:])
        fault = repo.split("/")[1]
        if parts[2] != "resolve" or parts[3] != COMMIT or path not in files(fault):
            return self.answer(404, [("X-Error-Code", "EntryNotFound")])
        if fault == "moved":
            return self.answer(307, [("Location", "/ok/model/" + "/".join(parts[2:]))])
        if fault == "loop":
            return self.answer(307, [("Location", self.path)])
        if fault == "flaky" and self.command == "HEAD":
            n = count(path)
            if n <= 2:
                return self.answer(429 if n == 1 else 500, [("Retry-After", "0")] if n == 1 else [])
        headers = [("X-Repo-Commit", COMMIT)]
        if path == LARGE and fault != "plain":
            port = Hub.other if fault in ("elsewhere", "downgrade") else here
            scheme = "http" if port in (Hub.main, Hub.other) else "https"
            headers += [("X-Linked-Etag", f'"{etag(fault, path)}"'), ("X-Linked-Size", str(len(content(fault, path))))]
            return self.answer(302, [*headers, ("ETag", '"not this"'), ("Location", f"{scheme}://127.0.0.1:{port}/cdn/{fault}/{path}")])
        headers.append(("ETag", f'W/"{etag(fault, path)}"'))
        self.answer(200, headers, files(fault)[path] if self.command == "GET" else b"", len(files(fault)[path]))

    def send_list(self, repo, revision, here, token):
        fault = repo.split("/")[1]
        if repo.split("/")[0] != "ok":
            return self.answer(404, [("X-Error-Code", "RepoNotFound")])
        if fault == "gated":
            return self.answer(403, [("X-Error-Code", "GatedRepo")])
        if fault == "private" and token != "Bearer secret":
            return self.answer(401, [("X-Error-Code", "RepoNotFound")])
        if revision not in ("main", COMMIT, "refs%2Fpr%2F3"):
            return self.answer(404, [("X-Error-Code", "RevisionNotFound")])
        if fault == "api" and here != Hub.other:
            return self.answer(307, [("Location", f"http://127.0.0.1:{Hub.other}{self.path}")])
        names = ["config.json", "pytorch_model.bin"] if fault == "pickle" else list(files(fault))
        names += {"evil": ["../../evil.json"], "escape": ["a\x1b[2Jb.json"]}.get(fault, [])
        sha = COMMIT[::-1] if fault == "other" else COMMIT
        more = {"gguf": {"architecture": "falcon"}} if fault == "falcongguf" else {}
        self.answer(200, body=json.dumps({"sha": sha, "siblings": [{"rfilename": n} for n in names], **more}).encode())

    def send_file(self, fault, path):
        data = content(fault, path)
        asked = self.headers.get("Range")
        n = count(fault)
        if fault == "expired" and n == 1:
            return self.answer(403, body=b"<Error>Request has expired</Error>")
        if fault == "halferror" and n == 2:
            self.answer(503, body=b"<html>" * 100, length=5000)
            return self.hang_up()
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault == "longer":
            data += b"x" * 100_000
        first = 0
        if asked and fault not in ("norange", "norangedrop"):
            first = int(asked.split("=")[1].split("-")[0])
        if fault == "badrange" and n == 2:
            first -= 50_000
        part = data[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        breaks = {"drop": 2, "norange": 1, "norangedrop": 2, "halferror": 1, "badrange": 1, "newetag": 1, "nohash": 1, "stall": 1}
        if n <= breaks.get(fault, 0):
            self.wfile.write(part[: 100_000 if n == 1 or fault == "drop" else 50_000])
            if fault == "stall":
                self.wfile.flush()
                time.sleep(20)
            return self.hang_up()
        for at in range(0, len(part), 100_000):
            self.wfile.write(part[at : at + 100_000])
            if fault == "slow":
                time.sleep(0.13)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # the client hung up


servers = [Server(("127.0.0.1", 0), Hub) for _ in range(3 if len(sys.argv) > 1 else 2)]
ports = [server.server_address[1] for server in servers]
Hub.main, Hub.other = ports[:2]
if len(servers) == 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    servers[2].socket = context.wrap_socket(servers[2].socket, server_side=True, do_handshake_on_connect=False)
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(*ports, *[0] * (3 - len(ports)), flush=True)
sys.stdin.read()
