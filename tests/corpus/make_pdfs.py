"""Makers of PDFs for the tests of `jobs.corpus.pdf`: well-formed, damaged and hostile ones, as bytes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

SENTENCE = b"BT /F1 9 Tf 72 700 Td (The quick brown fox jumps over the lazy dog near the river bank.) Tj ET\n"
_HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def assemble(objects: Mapping[int, bytes], trailer: str = "/Root 1 0 R") -> bytes:
    """A PDF of these objects with a right xref table; `trailer` may lie."""
    out, offsets = b"%PDF-1.7\n", {}
    for number, body in objects.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    size = max(objects) + 1
    entries = (b"%010d 00000 n \n" % offsets[n] if n in offsets else b"0000000000 00000 f \n" for n in range(1, size))
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, b"".join(entries))
    return out + table + b"trailer\n<</Size %d %b>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer.encode(), len(out))


def stream(content: bytes, entries: str = "") -> bytes:
    """A stream object; `entries` go into its dictionary."""
    return b"<</Length %d %b>>\nstream\n%b\nendstream" % (len(content), entries.encode(), content)


def one_page(
    content: bytes, filters: str = "", resources: str = "/Font<</F1 5 0 R>>", more: Mapping[int, bytes] | None = None
) -> bytes:
    """A page with this content stream. Object 5 is Helvetica; `more` adds objects or replaces them."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<<{resources}>>>>".encode(),
        4: stream(content, filters),
        5: _HELVETICA,
    }
    return assemble({**objects, **(more or {})})


def paper(n_pages: int = 2, **save: object) -> bytes:
    """A readable paper in one column; `save` are options of pymupdf's `tobytes` (encryption, user_pw …)."""
    import pymupdf

    document = pymupdf.open()
    for number in range(1, n_pages + 1):
        page = document.new_page()
        if number == 1:
            page.insert_text((72, 90), "A Paper about Reading", fontsize=18)
            page.insert_text((20, 500), "arXiv:2401.00001v1 [cs.CL] 1 Jan 2024", fontsize=20, rotate=90)
        for line in range(20):
            text = f"Sentence {line} of page {number} says that a careful reader finds every word of it."
            page.insert_text((72, 140 + 14 * line), text, fontsize=11)
    return document.tobytes(**save)


def deflated(chunk: bytes, times: int, levels: int = 1) -> tuple[bytes, str]:
    """Chunk × times (a multiple of 1,000) compressed `levels` times over, and the filter entry that unpacks it."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(chunk * 1000) for _ in range(times // 1000)) + packer.flush()
    for _ in range(levels - 1):
        packed = zlib.compress(packed, 9)
    return packed, f"/Filter[{'/FlateDecode' * levels}]"


def text_bomb() -> bytes:
    """175 MB of text commands in 0.5 MB: what MuPDF makes of them fills any memory."""
    return one_page(*deflated(SENTENCE, 2_000_000))


def blank_bomb(n_bytes: int = 200_000_000) -> bytes:
    """Blanks that deflate twice by a thousand: nothing but time."""
    return one_page(*deflated(b" " * 1000, n_bytes // 1000, levels=2))


def deep_page_tree(depth: int = 5_000) -> bytes:
    """A page under `depth` nested nodes."""
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>"}
    for number in range(2, depth):
        objects[number] = b"<</Type/Pages/Kids[%d 0 R]/Count 1/Parent %d 0 R>>" % (number + 1, max(2, number - 1))
    objects[depth] = b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 99 99]>>" % (depth - 1)
    return assemble(objects)


def looping_xref() -> bytes:
    """A readable page whose xref table names itself as the one before."""
    whole = one_page(SENTENCE)
    offset = whole.split(b"startxref\n")[1].split()[0]
    return whole.replace(b"/Root 1 0 R", b"/Root 1 0 R/Prev " + offset)


def looping_form() -> bytes:
    """A form that draws itself."""
    form = stream(b"/X Do", "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>")
    return one_page(b"/X Do", resources="/XObject<</X 6 0 R>>", more={6: form})


def doubling_forms(depth: int = 30) -> bytes:
    """Each form draws the next one twice: 2^depth words in 6 KB."""
    entries = "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</Font<</F1 5 0 R>>/XObject<</X %d 0 R>>>>"
    forms = {6 + level: stream(b"/X Do /X Do", entries % (7 + level)) for level in range(depth)}
    forms[6 + depth] = stream(b"BT /F1 9 Tf (word) Tj ET", entries % 5)
    return one_page(b"/X Do", resources="/XObject<</X 6 0 R>>", more=forms)


def nested_arrays(depth: int = 100_000) -> bytes:
    """Content that opens arrays and never closes them: the page raises."""
    return one_page(b"[" * depth)


def lying_page_count() -> bytes:
    """A page tree that claims two thousand million pages and has one."""
    return one_page(SENTENCE).replace(b"/Count 1>>", b"/Count 2000000000>>")


def foreign_encryption() -> bytes:
    """Encrypted for certificates, by a handler that MuPDF does not know."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>"
    handler = b"<</Filter/Adobe.PubSec/V 4/SubFilter/adbe.pkcs7.s5>>"
    objects = {1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>", 3: page, 4: handler}
    return assemble(objects, "/Root 1 0 R/Encrypt 4 0 R/ID[(a)(b)]")


def nameless_vowels() -> bytes:
    """A page whose font does not say which characters its vowels are."""
    names = "".join(f" {ord(vowel)}/unknown{vowel}" for vowel in "aeiou").encode()
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Type/Encoding/Differences[%b]>>>>" % names
    lines = b"".join(SENTENCE.replace(b"700", b"%d" % y) for y in range(700, 560, -14))
    return one_page(lines, more={5: font})


def invisible_text() -> bytes:
    """A page whose text is written in render mode 3."""
    return one_page(b"3 Tr\n" + SENTENCE * 3)


def image_only() -> bytes:
    """A page that is a picture, like a scan."""
    image = stream(
        b"\x00\xff" * 8, "/Type/XObject/Subtype/Image/Width 4/Height 4/ColorSpace/DeviceGray/BitsPerComponent 8"
    )
    return one_page(b"600 0 0 700 0 0 cm /I Do", resources="/XObject<</I 6 0 R>>", more={6: image})
