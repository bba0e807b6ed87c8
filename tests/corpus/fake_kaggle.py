"""Kaggle on loopback: a data set's description, and its zip by a signed address of a storage server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zipfile
from urllib.parse import parse_qs, urlsplit

from tests.corpus.fake_arxiv import FakeArxiv, redirect, respond

VIEW = "/api/v1/datasets/view/Cornell-University/arxiv"
DOWNLOAD = "/api/v1/datasets/download/Cornell-University/arxiv"
MEMBER = "arxiv-metadata-oai-snapshot.json"
SIGNATURE = "X-Goog-Signature=canary-signature"


def zipped(lines, member=MEMBER):
    """A zip of JSON lines, stored without packing so that its length follows from theirs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(member), b"\n".join(lines) + b"\n")
    return buffer.getvalue()


class FakeStorage(FakeArxiv):
    """Files by path, with ETag, hash and ranges; `faults` are answered first, in order."""

    def __init__(self):
        super().__init__()
        self.files = {}
        self.faults = []
        self.has_etag = True

    def next_answer(self, path):
        if self.faults:
            return self.faults.pop(0)
        content = self.files.get(urlsplit(path).path)
        return respond(404) if content is None else self.serve(content)

    def serve(self, content):
        """The whole, or the range that the present request asks for, unless the file is another than it expects."""
        asked, headers = self.requests[-1].headers, self.headers_of(content)
        match = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
        if match is None or asked.get("if-range", headers.get("ETag")) != headers.get("ETag"):
            return respond(200, content, **headers)
        start, end = int(match[1]), len(content) - 1
        if start > end:
            return respond(416, Content_Range=f"bytes */{len(content)}", **headers)
        return respond(206, content[start:], Content_Range=f"bytes {start}-{end}/{len(content)}", **headers)

    def headers_of(self, content):
        md5 = hashlib.md5(content)
        etag = {"ETag": f'"{md5.hexdigest()}"'} if self.has_etag else {}
        return {"x-goog-hash": f"crc32c=AAAAAA==,md5={base64.b64encode(md5.digest()).decode()}"} | etag


class FakeKaggle(FakeArxiv):
    """`publish` makes a version. `account` is the Authorization that is wanted, None for none."""

    def __init__(self, storage):
        super().__init__()
        self.storage = storage
        self.number, self.updated_on = 0, "2024-01-07"
        self.account = None
        self.faults = []

    def publish(self, number, content, updated_on="2024-01-07"):
        self.number, self.updated_on = number, updated_on
        self.storage.files[f"/kaggle-data-sets/v{number}.zip"] = content

    def next_answer(self, path):
        if self.faults:
            return self.faults.pop(0)
        address = urlsplit(path)
        if self.account and self.requests[-1].headers.get("authorization") != self.account:
            return respond(401, b'{"code":401,"message":"Unauthenticated"}')
        if address.path == VIEW:
            return respond(200, self._description(), Content_Type="application/json")
        if address.path == DOWNLOAD:
            number = parse_qs(address.query)["datasetVersionNumber"][0]
            return redirect(f"{self.storage.base_url}/kaggle-data-sets/v{number}.zip?{SIGNATURE}")
        return respond(404)

    def _description(self):
        described = {
            "id": 612177,
            "ref": "Cornell-University/arxiv",
            "title": "arXiv Dataset",
            "currentVersionNumber": self.number,
            "lastUpdated": f"{self.updated_on}T08:15:00.123Z",
            "totalBytes": 1234567890,
        }
        return json.dumps(described).encode()
