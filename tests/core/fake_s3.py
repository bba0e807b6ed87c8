"""A server that speaks as much of S3's protocol as a lake needs, on loopback, with faults at choice.

Objects are atomic and versioned by ETag, PUT knows If-Match and If-None-Match, lists come in pages and in order, large
objects come in parts. Signatures are not checked; the sha256 that the client signs is.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

Machine = Callable[[str], None]  # the fixture `machine`: what is run from now on runs on the machine of this name
BUCKET = "bucket"
FAR = f"s3://{BUCKET}/lakes/toy"
PAGE = 7  # names of a list's page: small, so that tests meet the second one
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test-id", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Stored:
    """An object."""

    content: bytes
    changed_at: dt.datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclass
class Fault:
    """What happens instead of (or, for `lost`, after) the next `times` requests whose line matches.

    kind: a status such as 503; `cut` (half of the body, then the line is dead), `lost` (done, but no answer), `slow`.
    """

    pattern: str
    kind: int | str
    times: int = 1


@dataclass
class FakeS3:
    """The server; a context manager. `requests` are lines such as `PUT lake/LAKE.json`, without the bucket."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    n_slow: int = 0  # requests that are being slow now
    most_slow: int = 0  # at one time

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.fake = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a client reads to come here."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"}

    def names(self, prefix: str = "") -> list[str]:
        """Names of the objects, sorted."""
        with self.lock:
            return sorted(name for name in self.objects if name.startswith(prefix))

    def put(self, name: str, content: bytes, *, age: dt.timedelta = dt.timedelta()) -> None:
        """Store an object behind every client's back."""
        with self.lock:
            self.objects[name] = Stored(content, dt.datetime.now(dt.UTC) - age)

    def grow_old(self, age: dt.timedelta) -> None:
        """Make every object older."""
        with self.lock:
            self.objects = {name: Stored(one.content, one.changed_at - age) for name, one in self.objects.items()}

    def fault_for(self, line: str) -> int | str | None:
        """The fault that this request meets, which is used up by it."""
        with self.lock:
            self.requests.append(line)
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, line):
                    fault.times -= 1
                    return fault.kind
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet, or every answer waits 40 ms for the other side

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def fake(self) -> FakeS3:
        return self.server.fake  # type: ignore[attr-defined,no-any-return]

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, self.name = unquote(url.path).lstrip("/").partition("/")
        self.is_mute = False
        fault = self.fake.fault_for(f"{self.command} {self.name}")
        length = int(self.headers.get("content-length") or 0)
        if fault == "cut" and self.command in ("PUT", "POST"):
            self.rfile.read(length // 2)
            self.drop()
            return
        self.body = self.rfile.read(length)
        if isinstance(fault, int):
            self.refuse(fault, "SlowDown" if fault == 503 else "InternalError")
        elif bucket != BUCKET:
            self.refuse(404, "NoSuchBucket")
        elif not self.is_body_signed():
            self.refuse(400, "XAmzContentSHA256Mismatch")
        else:
            if fault == "slow":
                self.be_slow()
            self.is_mute, self.is_cut = fault == "lost", fault == "cut"
            with self.fake.lock:
                getattr(self, f"on_{self.command.lower()}")()

    def be_slow(self) -> None:
        with self.fake.lock:
            self.fake.n_slow += 1
            self.fake.most_slow = max(self.fake.most_slow, self.fake.n_slow)
        time.sleep(1.0)
        with self.fake.lock:
            self.fake.n_slow -= 1

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815 - the names that http.server looks for

    def is_body_signed(self) -> bool:
        signed = self.headers.get("x-amz-content-sha256", "")
        return len(signed) != 64 or signed == hashlib.sha256(self.body).hexdigest()

    def on_get(self) -> None:
        if not self.name:
            self.list_objects()
            return
        stored = self.fake.objects.get(self.name)
        if stored is None:
            self.refuse(404, "NoSuchKey")
            return
        content, headers = stored.content, self.headers_of(stored)
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            headers["content-range"] = f"bytes {start}-{end}/{len(content)}"
            self.reply(206, content[start : end + 1], headers)
        else:
            self.reply(200, content, headers)

    def on_head(self) -> None:
        stored = self.fake.objects.get(self.name)
        if stored is None:
            self.reply(404, b"")
        else:
            self.reply(200, stored.content, self.headers_of(stored))

    def on_put(self) -> None:
        if "uploadId" in self.query:
            self.fake.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
            self.reply(200, b"", {"etag": f'"{hashlib.md5(self.body).hexdigest()}"'})
        else:
            self.store(self.body, b"")

    def on_post(self) -> None:
        if "uploads" in self.query:
            upload = uuid.uuid4().hex
            self.fake.uploads[upload] = {}
            self.reply(200, f"<R><UploadId>{upload}</UploadId></R>".encode())
        elif "uploadId" in self.query:
            parts = self.fake.uploads.pop(self.query["uploadId"])
            content = b"".join(parts[number] for number in sorted(parts))
            etag = f"&quot;{hashlib.md5(content).hexdigest()}&quot;"
            self.store(content, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")
        else:
            names = [node.text or "" for node in ElementTree.fromstring(self.body).iter() if node.tag.endswith("Key")]
            for name in names:
                self.fake.objects.pop(name, None)
            told = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
            self.reply(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    def on_delete(self) -> None:
        self.fake.uploads.pop(self.query.get("uploadId", ""), None)
        if "uploadId" not in self.query:
            self.fake.objects.pop(self.name, None)
        self.reply(204, b"")

    def store(self, content: bytes, answer: bytes | str) -> None:
        there = self.fake.objects.get(self.name)
        if self.headers.get("if-none-match") == "*" and there:
            self.refuse(412, "PreconditionFailed")
        elif (wanted := self.headers.get("if-match")) and (there is None or there.etag != wanted):
            self.refuse(412 if there else 404, "PreconditionFailed" if there else "NoSuchKey")
        else:
            stored = self.fake.objects[self.name] = Stored(content, dt.datetime.now(dt.UTC))
            self.reply(200, answer if isinstance(answer, bytes) else answer.encode(), {"etag": stored.etag})

    def list_objects(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        names = [name for name in self.fake.names(prefix) if name > after]
        folders, told, last = [], [], ""
        for name in names[:PAGE]:
            rest, last = name[len(prefix) :], name
            if delimiter and delimiter in rest:
                folders.append(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            one = self.fake.objects[name]
            told.append(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(one.content)}</Size><ETag>{escape(one.etag)}</ETag>"
                f"<LastModified>{one.changed_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            )
        told += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in dict.fromkeys(folders)]
        more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if len(names) > PAGE else ""
        cut = str(len(names) > PAGE).lower()
        self.reply(
            200, f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{more}{''.join(told)}</ListBucketResult>".encode()
        )

    def headers_of(self, stored: Stored) -> dict[str, str]:
        return {"etag": stored.etag, "last-modified": f"{stored.changed_at:%a, %d %b %Y %H:%M:%S GMT}"}

    def refuse(self, status: int, code: str) -> None:
        self.is_mute = self.is_cut = False
        self.reply(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        if self.is_mute:
            self.drop()
            return
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if getattr(self, "is_cut", False):
            self.wfile.write(body[: len(body) // 2])
            self.drop()
        else:
            self.wfile.write(body)

    def drop(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()
