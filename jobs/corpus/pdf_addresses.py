"""Which web addresses are asked for PDFs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from jobs.core.errors import UsageError
from jobs.corpus import arxiv
from jobs.corpus.web_addresses import WebAddresses

ARXIV_TEMPLATE = "{base}/pdf/{paper_id}v{version}"
GCS_URL = "https://storage.googleapis.com"
# The layout of arXiv's bucket at Google: new ids under the archive `arxiv`; old ids under their own archive, which the
# file's name leaves out (the bucket's listing, cmp-lg/pdf/9404).
_BUCKET_TEMPLATE = "{base}/arxiv/{archive}/pdf/{yymm}/{number}v{version}.pdf"
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]+")  # lower case, as Google has them
_SCHEMES = ("gs", "http", "https")


class PdfAddresses:
    """Addresses made of a base, a template and arXiv ids, never of what metadata or a server says.

    `base_url` is the address of a server, or of a bucket (`gs://NAME`) in the layout of arXiv's own; `gcs_url` is where
    buckets are. Raises UsageError for a base that is no address or holds a password, and for a template that does not
    tell versions apart.
    """

    def __init__(self, base_url: str, template: str = ARXIV_TEMPLATE, gcs_url: str = GCS_URL) -> None:
        self.is_bucket = base_url.startswith("gs://")
        self.base_url = base_url.rstrip("/")
        if self.is_bucket:
            self.base_url = f"{gcs_url.rstrip('/')}/{_bucket_of(base_url)}"
        WebAddresses(self.base_url)  # refuses what is no address
        self._template = _BUCKET_TEMPLATE if self.is_bucket else _check_template(template)

    def url_of(self, paper_id: str, version: int) -> str:
        """Where the PDF of a version is. Raises ValueError if `paper_id` is no arXiv id."""
        parsed = arxiv.parse_id(paper_id)
        archive, _, tail = parsed.paper_id.rpartition("/")
        return self._template.format(
            base=self.base_url,
            paper_id=parsed.paper_id,
            version=version,
            archive=archive or "arxiv",
            number=tail,
            yymm=tail[:4],
        )


def split_places(pdfs: str | None) -> list[str]:
    """The servers and buckets that `--pdfs` names, in the order to ask them; none for a folder.

    Raises UsageError where one of them is no address.
    """
    if not pdfs or "://" not in pdfs:
        return []
    places = pdfs.split()
    if wrong := [place for place in places if urlsplit(place).scheme not in _SCHEMES]:
        raise UsageError(
            f"--pdfs {pdfs}: {wrong[0]} is neither a server nor a bucket. Expected a folder, or addresses that begin "
            "with https://, http:// or gs://, in the order to ask them."
        )
    return places


def _bucket_of(address: str) -> str:
    name = address.removeprefix("gs://").strip("/")
    if not _BUCKET_NAME.fullmatch(name):
        raise UsageError(f"{address} is no bucket. Expected gs:// and a name, such as gs://arxiv-dataset")
    return name


def _check_template(template: str) -> str:
    names = {"paper_id": "2205.14135", "archive": "arxiv", "number": "2205.14135", "yymm": "2205"}
    try:
        versions = {template.format(base="", version=number, **names) for number in (1, 2)}
    except (LookupError, ValueError) as error:
        raise UsageError(f"{template!r} is no template of addresses ({error!r}). Try {ARXIV_TEMPLATE}") from error
    if len(versions) < 2 or not template.startswith("{base}"):
        raise UsageError(f"{template!r} does not begin with {{base}} or lacks {{version}}. Try {ARXIV_TEMPLATE}")
    return template
