"""Which web addresses are asked for PDFs."""

from __future__ import annotations

from collections.abc import Collection

from jobs.core.errors import UsageError
from jobs.corpus.web_addresses import WebAddresses

ARXIV_TEMPLATE = "{base}/pdf/{paper_id}v{version}"


class PdfAddresses(WebAddresses):
    """Addresses made of a base, a template and arXiv ids, never of what metadata or a server says.

    Raises UsageError for a base that is no address or holds a password, and for a template that does not tell versions
    apart.
    """

    def __init__(self, base_url: str, template: str = ARXIV_TEMPLATE, hosts: Collection[str] = ()) -> None:
        super().__init__(base_url, hosts)
        self._template = _check_template(template)

    def url_of(self, paper_id: str, version: int) -> str:
        """Where the PDF of a version is."""
        return self._template.format(base=self.base_url, paper_id=paper_id, version=version)


def _check_template(template: str) -> str:
    try:
        versions = {template.format(base="", paper_id="2205.14135", version=number) for number in (1, 2)}
    except (LookupError, ValueError) as error:
        raise UsageError(f"{template!r} is no template of addresses ({error!r}). Try {ARXIV_TEMPLATE}") from error
    if len(versions) < 2 or not template.startswith("{base}"):
        raise UsageError(f"{template!r} does not begin with {{base}} or lacks {{version}}. Try {ARXIV_TEMPLATE}")
    return template
