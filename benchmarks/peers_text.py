"""Text of PDFs by one of the peers, in an environment of its own. Prints a JSON list of {text, titles, cpu_s}.

Run by bench_text_quality and readers: python peers_text.py NAME PDF …
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable

_HEADING = re.compile(r"^#{1,6}\s+(.*)$", re.MULTILINE)
_MARKUP = re.compile(r"^[#>]+\s|^\s*[-*]\s|^[|:\-\s]+$|\*\*|`|(?<![^\s*])_|_(?![^\s*.,;:])|\||<br>", re.MULTILINE)


def read_pymupdf(path: str) -> tuple[str, list[str] | None]:
    """PyMuPDF's plain text."""
    import pymupdf

    with pymupdf.open(path) as document:
        return "\n".join(page.get_text() for page in document), None


def read_pypdfium2(path: str) -> tuple[str, list[str] | None]:
    """PDFium's plain text."""
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_bounded() for page in document), None


def read_pdftotext(path: str) -> tuple[str, list[str] | None]:
    """Poppler's text in reading order."""
    done = subprocess.run(["pdftotext", path, "-"], check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace"), None


def read_pymupdf4llm(path: str) -> tuple[str, list[str] | None]:
    """pymupdf4llm's Markdown without its marks; headings are its titles."""
    import pymupdf4llm

    markdown = pymupdf4llm.to_markdown(path)
    titles = [_MARKUP.sub("", title).strip() for title in _HEADING.findall(markdown)]
    return _MARKUP.sub("", markdown), titles


READERS: dict[str, Callable[[str], tuple[str, list[str] | None]]] = {
    "pymupdf": read_pymupdf,
    "pypdfium2": read_pypdfium2,
    "pdftotext": read_pdftotext,
    "pymupdf4llm": read_pymupdf4llm,
}


def cpu_s() -> float:
    """CPU-seconds of this process and of its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(name: str, paths: list[str]) -> None:
    """Read all paths; the first one twice, so that imports and warm-up count for none."""
    read = READERS[name]
    read(paths[0])
    texts = []
    for path in paths:
        begun = cpu_s()
        text, titles = read(path)
        texts.append({"text": text, "titles": titles, "cpu_s": cpu_s() - begun})
    sys.stdout.write("\n" + json.dumps(texts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
