"""An OAI-PMH server on loopback that pages as arXiv's does and misbehaves on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.sax.saxutils import escape

from tests.corpus.fake_arxiv import FakeArxiv, respond

RESPONSE_DATE = "2024-01-09T04:00:00Z"
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)


@dataclass
class Listed:
    """A record of the server. `fields` replace those of `arXivRaw`; None leaves one out."""

    paper_id: str
    datestamp: str
    sets: tuple[str, ...] = ("cs:cs:LG",)
    is_deleted: bool = False
    versions: tuple[tuple[str, str | None], ...] = (("Tue, 02 Jan 2024 10:00:00 GMT", "D"),)
    fields: dict[str, str | None] = field(default_factory=dict)


class FakeOai(FakeArxiv):
    """`records` may change between requests; `faults` are answered first, in order; `midnight` kills all tokens."""

    def __init__(self, records=(), page_size=2):
        super().__init__()
        self.records = list(records)
        self.page_size = page_size
        self.response_date = RESPONSE_DATE
        self.faults = []
        self._day = 0

    @property
    def url(self):
        return f"{self.base_url}/oai"

    @property
    def asked(self):
        """The arguments of every request."""
        return [{name: values[0] for name, values in parse_qs(urlsplit(path).query).items()} for path in self.paths]

    def midnight(self):
        self._day += 1

    def next_answer(self, path):
        if self.faults:
            return self.faults.pop(0)
        asked = self.asked[-1]
        if "resumptionToken" in asked:
            return self._resume(asked)
        if asked.get("verb") != "ListRecords" or asked.get("metadataPrefix") != "arXivRaw":
            return self.error("badArgument", "expected ListRecords of arXivRaw")
        return self._page(asked.get("from", ""), asked.get("set", ""), 0)

    def error(self, code, said=""):
        return self.xml(f'<error code="{code}">{said}</error>')

    def xml(self, content):
        return respond(200, page_xml(content, self.response_date), Content_Type="text/xml; charset=utf-8")

    def _resume(self, asked):
        token = {name: values[0] for name, values in parse_qs(asked["resumptionToken"]).items()}
        if set(asked) != {"verb", "resumptionToken"}:
            return self.error("badArgument", "no other arguments beside a token")
        if token.get("day") != str(self._day):
            return self.error("badResumptionToken", "expired")
        return self._page(token.get("from", ""), token.get("set", ""), int(token["skip"]))

    def _page(self, since, set_spec, skip):
        found = [one for one in self.records if one.datestamp >= since and set_spec in ("", *one.sets)]
        found.sort(key=lambda one: (one.datestamp, one.paper_id))
        page, rest = found[skip : skip + self.page_size], found[skip + self.page_size :]
        if not page:
            return self.error("noRecordsMatch")
        records = "".join(record_xml(one) for one in page)
        return self.xml(f"<ListRecords>{records}{self._token_xml(page, rest, since, set_spec, skip)}</ListRecords>")

    def _token_xml(self, page, rest, since, set_spec, skip):
        """The token moves `from` to the day of the next record and counts what of it was delivered."""
        if not rest:
            return "<resumptionToken/>" if skip else ""
        day = rest[0].datestamp
        n_seen = skip + len(page) if since == day else sum(one.datestamp == day for one in page)
        token = urlencode({"from": day, "set": set_spec, "skip": n_seen, "day": self._day})
        return f'<resumptionToken expirationDate="2024-01-10T00:00:00Z">{escape(token)}</resumptionToken>'


def page_xml(content, response_date=RESPONSE_DATE):
    return f"{_HEAD}<responseDate>{response_date}</responseDate>{content}</OAI-PMH>".encode()


def record_xml(one):
    status = ' status="deleted"' if one.is_deleted else ""
    sets = "".join(f"<setSpec>{name}</setSpec>" for name in one.sets)
    header = (
        f"<header{status}><identifier>oai:arXiv.org:{one.paper_id}</identifier>"
        f"<datestamp>{one.datestamp}</datestamp>{sets}</header>"
    )
    return f"<record>{header}{'' if one.is_deleted else raw_xml(one)}</record>"


def raw_xml(one):
    fields = {
        "id": one.paper_id,
        "submitter": "Ada Example",
        "title": "On the spectrum\n  of graphs",
        "authors": "A. Example and B. Bal\\'azs",
        "categories": "cs.LG stat.ML",
        "license": "http://creativecommons.org/licenses/by/4.0/",
        "abstract": "  We show a < b & c.\n",
    } | one.fields
    versions = "".join(
        f'<version version="v{number}"><date>{date}</date><size>12kb</size>'
        f"{f'<source_type>{letter}</source_type>' if letter else ''}</version>"
        for number, (date, letter) in enumerate(one.versions, start=1)
    )
    texts = {name: f"<{name}>{escape(text)}</{name}>" for name, text in fields.items() if text is not None}
    rest = "".join(text for name, text in texts.items() if name not in ("id", "submitter"))
    start = f"{texts.get('id', '')}{texts.get('submitter', '')}{versions}"
    return f'<metadata><arXivRaw xmlns="http://arxiv.org/OAI/arXivRaw/">{start}{rest}</arXivRaw></metadata>'
