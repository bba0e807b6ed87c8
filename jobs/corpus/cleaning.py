"""Characters and hyphens: what a PDF's text needs before anybody can search it.

Superscripts, fractions and letterlike symbols (², ½, ℝ) stay, because compatibility normalisation (NFKC) would turn
10² into 102; only ligatures, presentation forms, full-width forms and styled mathematical letters are folded.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

# Combining form of what TeX prints as an accent of its own before the letter (OT1 fonts).
ACCENTS = {
    "´": "\u0301", "ˋ": "\u0300", "¨": "\u0308", "ˆ": "\u0302", "˜": "\u0303", "ˇ": "\u030c",
    "˘": "\u0306", "¯": "\u0304", "˙": "\u0307", "˚": "\u030a", "˝": "\u030b",
}  # fmt: skip
_ACCENT = re.compile(r"(?:(?<=[A-Za-z]) (?=[´¨ˇ˘˚˝][a-zı]|[ˆ˜˙][a-zı][a-z]))?([´ˋ¨ˆ˜ˇ˘¯˙˚˝]) ?([A-Za-zıȷ])")
_GRAVE = re.compile(r"(?<=[a-z])`(?=[aeiouy])")
# What Quartz writes for TeX's ff; apart from letters it stands for alpha.
_ARROW_FF = re.compile("(?<=[A-Za-z])↵(?=[a-z])|↵(?=[a-z]{2})|(?<=o)↵(?!\\w)")
# Adobe's private characters for the parts of tall brackets, from U+F8EB on, and what Quartz writes for TeX's \\leq.
_BRACKETS = dict(enumerate("⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪⎮⎞⎟⎠⎤⎥⎦⎫⎬⎭≤", 0xF8EB))
_PRIVATE_BRACKET = re.compile("[\uf8eb-\uf8ff]")
_CEDILLA = re.compile(r"¸ ?([cCsStTeEgG])|([cCsStTeEgG])¸")
_ACCENT_SIGNS = "´`¨ˆ˜ˇ˘¯˙˚˝¸"
_ANY_ACCENT = re.compile(f"[{_ACCENT_SIGNS}]")
# Ligatures, Hebrew and Arabic presentation forms, full- and half-width forms, styled letters of formulas.
_FOLDED_SIGNS = "\ufb00-\ufdff\ufe70-\ufefc\uff01-\uffef\U0001d400-\U0001d7ff"
_FOLDED = re.compile(f"[{_FOLDED_SIGNS}]+")
_INVISIBLE_SIGNS = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff0-\ufffc\ufffe\uffff\ud800-\udfff"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_SIGNS}]")
# Any of those that `clean_characters` looks at: one search tells that a line has none.
_UNCLEAN = re.compile(f"[{_ACCENT_SIGNS}{_FOLDED_SIGNS}{_INVISIBLE_SIGNS}\uf8eb-\uf8ff↵\u2010\u00ad]")
_BLANKS = re.compile(r"[\s\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]")
HYPHENS = "-\u2010\u00ad"
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha() and chr(code) != "-"}
_ONLY_LETTERS = {code: None for code in range(128) if not chr(code).isalpha()}
_TAIL = re.compile(r"([^\W\d_]+(?:-[^\W\d_]+)*)[-\u2010\u00ad]$")
_HEAD = re.compile(r"([^\W\d_]+)((?:-[^\W\d_]+)*)")
_ADDRESS = re.compile(r"(?:https?://|www\.|doi\.org|\S/\S+/)\S*$")
# Prefixes that English writes with a hyphen more often than without, and words that do so before another word.
_KEPT = "self non cross well quasi high short half two three"
KEPT_PREFIXES = frozenset(_KEPT.split())
KEPT_BEFORE_WORDS = frozenset(("all", "low", "long", "state", "so", "one"))
# First halves of compounds that English writes as one word: two known words are no proof of a hyphen after them.
_JOINED = (
    "any back down else every fore further how in inter more never not out over some there thereof under up"
    " where with data frame net sub super time work"
)
JOINED_PREFIXES = frozenset(_JOINED.split())


# Steps that can be switched off, by the names under which they are counted.
STEPS = {
    "stamps": "arXiv's stamp on the first page is dropped",
    "running_heads": "lines that come back in the margins of many pages are dropped",
    "page_numbers": "numbers of pages are dropped",
    "line_numbers": "columns of line numbers are dropped",
    "contents_lines": "lines of a table of contents are dropped",
    "float_debris": "labels inside pictures are dropped",
    "folded_chars": "ligatures and styled letters become plain letters",
    "accents": "accents are put on their letters",
    "exponents": "raised digits are written with ^, as in 10^4",
    "footnote_marks": "marks of footnotes behind words and sentences are dropped",
    "hyphens_joined": "words broken at the end of a line are joined",
    "breaks_joined": "sentences are joined over pages and columns, floats moved out of their way",
}


class StepCounter(Counter[str]):
    """How often each step acted; those in `without` do not act."""

    def __init__(self, without: Iterable[str] = ()) -> None:
        super().__init__()
        self.without = frozenset(without)


def is_off(counts: Counter[str], step: str) -> bool:
    """Whether a step is switched off; in a plain Counter none is."""
    return isinstance(counts, StepCounter) and step in counts.without


def clean_characters(text: str, counts: Counter[str]) -> str:
    """The text without invisible characters, with accents on their letters, single blanks, in NFC."""
    if text.isascii() and text.isprintable() and "`" not in text:
        return " ".join(text.split()) if "  " in text else text.strip()
    if not _UNCLEAN.search(text):
        return unicodedata.normalize("NFC", " ".join(text.split()))
    text = _drop(text, _INVISIBLE, "control_chars", counts)
    text = _fold(text, counts)
    if _ANY_ACCENT.search(text) and not is_off(counts, "accents"):
        text = combine_accents(text, counts)
    text = text.replace("\u2010", "-").replace("\u00ad", "")
    return unicodedata.normalize("NFC", _BLANKS.sub(" ", text)).strip()


def _drop(text: str, pattern: re.Pattern[str], name: str, counts: Counter[str]) -> str:
    clean, n = pattern.subn("", text)
    counts[name] += n
    return clean


def _fold(text: str, counts: Counter[str]) -> str:
    """Ligatures, presentation forms and styled letters as plain letters."""
    if is_off(counts, "folded_chars"):
        return text
    text, n_ff = _ARROW_FF.subn("ff", text) if "↵" in text else (text, 0)
    counts["folded_chars"] += n_ff
    if _PRIVATE_BRACKET.search(text):
        counts["folded_chars"] += len(_PRIVATE_BRACKET.findall(text))
        text = text.translate(_BRACKETS)
    folded, n = _FOLDED.subn(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    counts["folded_chars"] += n
    return folded


def combine_accents(text: str, counts: Counter[str]) -> str:
    """`F¨arber` as Färber: TeX's old fonts print an accent as a character of its own before its letter."""

    def combine(match: re.Match[str]) -> str:
        accent, letter = match[1], match[2]
        if accent == "´" and letter == "s":
            return match[0]  # an apostrophe typed as an accent: it´s
        letter = {"ı": "i", "ȷ": "j"}.get(letter, letter)
        whole = unicodedata.normalize("NFC", letter + ACCENTS[accent])
        if len(whole) > 1:
            return match[0]
        counts["accents"] += 1
        return whole

    def cedilla(match: re.Match[str]) -> str:
        counts["accents"] += 1
        return unicodedata.normalize("NFC", (match[1] or match[2]) + "\u0327")

    # A lone grave accent is also TeX's opening quote, so it must stand inside a word.
    return _CEDILLA.sub(cedilla, _ACCENT.sub(combine, _GRAVE.sub("\u02cb", text)))


def vocabulary(texts: list[str]) -> Counter[str]:
    """How often each word, with its inner hyphens, stands unbroken in the lines of a document, in lower case."""
    plain = " ".join([text for text in texts if text.isascii()]).lower()
    other = " ".join([text for text in texts if not text.isascii()]).lower()
    # Split at blanks, which is faster, and only what is more than letters, each once, by the pattern of a word.
    words = Counter(plain.translate(_LETTERS).split())
    words.update(other.split())
    for string in [string for string in words if not string.isalpha()]:
        n = words.pop(string)
        for word in WORD.findall(string):
            words[word] += n
    for i, text in enumerate(texts):
        if text[-1:] in HYPHENS and len(text) > 1 and text[-2].isalpha():  # neither half of a broken word is one
            after = texts[i + 1] if i + 1 < len(texts) else ""
            words.subtract(WORD.findall(text.lower())[-1:] + WORD.findall(after.lower())[:1])
    return words


def join_lines(texts: list[str], words: Counter[str], counts: Counter[str]) -> str:
    """Lines as one line of text, words put together that were broken at a hyphen.

    The document decides: whichever of `joined` and `hyphen-ated` it writes elsewhere (`words`); without a witness the
    hyphen goes, unless both halves are words of their own or the first one is a prefix that keeps it.
    """
    texts = [text for text in texts if text]
    joined = texts[0] if texts else ""
    has_address = "://" in " ".join(texts)
    for text in texts[1:]:
        if joined[-1] in HYPHENS and len(joined) > 1:
            joined = _join_at_hyphen(joined, text, words, counts)
        elif (joined[-1] in "–—/" and _goes_on(joined, text)) or (has_address and _is_rest_of_address(joined, text)):
            joined += text
        else:
            joined = f"{joined} {text}"
    return joined


def _goes_on(before: str, after: str) -> bool:
    """A range of numbers goes on behind its dash, anything behind a long dash or slash that touches a word."""
    if before[-1] == "–":
        return before[-2:-1].isdigit() and after[0].isdigit()
    return not before[-2:-1].isspace()


def _is_rest_of_address(before: str, after: str) -> bool:
    """A URL goes on in the next line if it ends with a joint or the next line has more of its marks."""
    tail = before[-120:].rsplit(" ", 1)[-1]
    first = after.split(" ", 1)[0]
    return "://" in tail and (
        tail[-1] in "/._-=?&%" or (("/" in first or "." in first[:-1]) and not first[0].isupper())
    )


def _join_at_hyphen(before: str, after: str, words: Counter[str], counts: Counter[str]) -> str:
    if is_off(counts, "hyphens_joined"):
        return f"{before} {after}"
    tail, head = _TAIL.search(before[-60:]), _HEAD.match(after)
    if tail is None or head is None:
        # A dash between words, a minus, or a range: only a letter or digit before makes it part of a word.
        return before + after if before[-2].isalnum() and after[0].isalnum() else f"{before} {after}"
    is_name = after[0].isupper() and not words[(tail[1] + head[1]).lower()]  # BERT-Large, but ADA-GRAD is ADAGRAD
    if is_name or head[2]:  # end-to-end
        return before + after
    if keeps_hyphen(tail[1], head[1], words) or _ADDRESS.search(before[-120:]):
        return before + after
    counts["hyphens_joined"] += 1
    return before[:-1] + after


def keeps_hyphen(first: str, second: str, words: Counter[str]) -> bool:
    """Whether a word broken after `first-` keeps its hyphen."""
    first, second = first.lower(), second.lower()
    joined, hyphened = words[first + second], words[f"{first}-{second}"]
    if joined or hyphened:
        return hyphened > joined
    if "-" in first or (first in KEPT_PREFIXES and len(second) > 3):
        return True
    if first in KEPT_BEFORE_WORDS:
        return words[second] > 0  # so-called, but solution
    if first in JOINED_PREFIXES:
        return False
    return len(first) > 3 and len(second) > 3 and words[first] > 0 and words[second] > 0


def count_letters(text: str) -> int:
    """How many characters are letters."""
    return len(text.translate(_ONLY_LETTERS)) if text.isascii() else sum(map(str.isalpha, text))


def bad_share_01(text: str) -> float:
    """Share of characters that stand for no letter: U+FFFD and private use, blanks apart."""
    n_chars = len(text) - text.count(" ") - text.count("\n")
    bad = text.count("\ufffd") + len(_PRIVATE.findall(text))
    return bad / n_chars if n_chars else 0.0
