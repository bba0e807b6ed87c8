"""Papers made by seed: the source and its true text are written by the same hand, element by element."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.typeset import prose
from benchmarks.typeset.prose import Phrase
from benchmarks.typeset.styles import Style

T = TypeVar("T")
AUTHORS = "Contributors of Spark-ArXiv"
HEAD_LEFT = "Typeset by its contributors"
AFFILIATION = "This block names no institution. Correspondence to nobody at example.org."
STAMP = "arXiv:2401.00001v1 [cs.LG] 1 Jan 2024"
FLOATING = frozenset(("caption", "table", "footnote", "algorithm"))
_ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")


@dataclass(frozen=True)
class Element:
    """A block of the paper, as TeX and as it is read. `sentences` are those of `text`, by their numbers."""

    kind: str
    tex: str
    text: str
    level: int = 0
    title: str = ""
    sentences: tuple[tuple[int, str], ...] = ()


class Writer:
    """Writes the elements of one paper in order. Everything is decided by style and seed."""

    def __init__(self, style: Style, seed: int) -> None:
        self.style = style
        self.elements: list[Element] = []
        self._random = random.Random(f"{style.name} {seed}")
        self._sentences = self._shuffled(prose.sentences())
        self._titles = self._shuffled(prose.titles())
        self._special = self._shuffled(prose.SPECIAL)
        self._displays = self._shuffled(prose.DISPLAYS)
        self._n: dict[str, int] = {}
        self._section = [0, 0]
        self._in_appendix = False
        self._n_sentences = 0

    def _shuffled(self, items: tuple[T, ...]) -> list[T]:
        return self._random.sample(items, len(items))

    def _count(self, name: str) -> int:
        self._n[name] = self._n.get(name, 0) + 1
        return self._n[name]

    def title(self) -> str:
        """A title for the paper or one of its sections, none twice."""
        return self._titles.pop()

    def paragraph(self, n: int, opening: Phrase | None = None, kind: str = "paragraph", footnote: bool = False) -> None:
        """A paragraph of n sentences, behind `opening`; with a footnote at the end of its second sentence."""
        phrases = [self._phrase() for _ in range(n)]
        words, sentences, note = [opening.tex] if opening else [], [], None
        texts = [opening.text] if opening else []
        for i, phrase in enumerate(phrases):
            self._n_sentences += 1
            number = self._n_sentences
            sentences.append((number, phrase.text))
            tail = Phrase("", "")
            if footnote and i == 1:
                tail, note = self._footnote()
            words.append(f"\\spot{{{number}}}{phrase.tex}\\spot{{{number}}}{tail.tex}")
            texts.append(phrase.text + tail.text)
        self.elements.append(Element(kind, "\n".join(words) + "\n", " ".join(texts), sentences=tuple(sentences)))
        if note:
            self.elements.append(note)

    def _phrase(self) -> Phrase:
        if self._special and self._random.random() < 0.12:
            return self._special.pop()
        sentence = self._sentences.pop()
        return Phrase(sentence, prose.as_read(sentence))

    def _footnote(self) -> tuple[Phrase, Element]:
        number = self._count("footnote")
        one = self._phrase()
        return Phrase(f"\\footnote{{{one.tex}}}", ""), Element("footnote", "", f"{number} {one.text}")

    def heading(self, level: int, title: str, is_numbered: bool = True) -> None:
        """A heading of level 1 or 2, with the number that the class prints."""
        number = self._number(level) if is_numbered and self.style.numbering else ""
        shown = title.upper() if self.style.is_upper and level == 1 else title
        command = "section" if level == 1 else "subsection"
        star = "" if is_numbered else "*"
        text = f"{number} {shown}".strip()
        self.elements.append(Element("heading", f"\\{command}{star}{{{title}}}\n", text, level, title))

    def _number(self, level: int) -> str:
        self._section[level - 1] += 1
        self._section[level:] = [0] * (2 - level)
        first, second = self._section
        head = self.style.appendix + chr(ord("A") + first - 1) if self._in_appendix else str(first)
        if self.style.numbering == "I.":
            return f"{_ROMAN[first]}." if level == 1 else f"{chr(ord('A') + second - 1)}."
        number = head if level == 1 else f"{head}.{second}"
        return number + ("." if self.style.numbering == "1." else "")

    def appendix(self) -> None:
        """Sections are lettered from here on."""
        self._in_appendix, self._section = True, [0, 0]
        self.elements.append(Element("command", "\\appendix\n", ""))

    def display(self) -> None:
        """A numbered formula on a line of its own."""
        phrase, number = self._displays.pop(), self._count("equation")
        tex = f"\\begin{{equation}}\n{phrase.tex}\n\\end{{equation}}\n"
        self.elements.append(Element("formula", tex, f"{phrase.text} ({number})"))

    def items(self, n: int) -> None:
        """A numbered list of n sentences."""
        self.elements.append(Element("command", "\\begin{enumerate}\n", ""))
        for i in range(n):
            self.paragraph(1, Phrase("\\item", f"{i + 1}."), kind="item")
        self.elements.append(Element("command", "\\end{enumerate}\n", ""))

    def theorem(self) -> None:
        """A theorem in italics with its proof."""
        number = self._count("theorem")
        self.paragraph(2, Phrase("\\begin{theorem}", f"Theorem {number}."), kind="statement")
        self.elements.append(Element("command", "\\end{theorem}\n", ""))
        self.paragraph(3, Phrase("\\begin{proof}", "Proof."), kind="statement")
        last = self.elements.pop()
        self.elements.append(
            Element(last.kind, last.tex + "\\end{proof}\n", last.text + " □", sentences=last.sentences)
        )

    def run_in(self) -> None:
        """A paragraph behind a bold title of its own."""
        title = self.title()
        self.paragraph(4, Phrase(f"\\paragraph{{{title}.}}", f"{title}."))

    def figure(self, is_wide: bool = False) -> None:
        """A plot with a caption below; the words inside are no text."""
        number, caption = self._count("figure"), self._phrase()
        star = "*" if is_wide and self.style.n_columns == 2 else ""
        plots = "\\plot\\quad\\plot" if is_wide else "\\plot"
        tex = f"\\begin{{figure{star}}}[t]\\centering{plots}\n\\caption{{{caption.tex}}}\\end{{figure{star}}}\n"
        self.elements.append(Element("caption", tex, f"{self.style.figure} {number}{self.style.mark} {caption.text}"))

    def table(self, is_wide: bool = False) -> None:
        """A table under its caption; its cells are read row by row."""
        number, caption = self._count("table"), self._phrase()
        star = "*" if is_wide and self.style.n_columns == 2 else ""
        n_numbers = 6 if is_wide else 3
        rows = self._rows(n_numbers)
        cells = "\\\\\n".join(" & ".join(row) for row in rows)
        tex = (
            f"\\begin{{table{star}}}[t]\\centering\\caption{{{caption.tex}}}\n"
            f"\\begin{{tabular}}{{l{'r' * n_numbers}}}\n\\hline\n{cells}\\\\\n\\hline\n\\end{{tabular}}\n"
            f"\\end{{table{star}}}\n"
        )
        shown = _ROMAN[number] if self.style.numbering == "I." else str(number)
        self.elements.append(Element("caption", tex, f"{self.style.table} {shown}{self.style.mark} {caption.text}"))
        self.elements.append(Element("table", "", " ".join(cell for row in rows for cell in row)))

    def _rows(self, n_numbers: int) -> list[list[str]]:
        names = ("Baseline", "Pruned", "Quantized", "Merged")
        head = ["Method", *("Recall", "Loss", "Time", "Memory", "Rate", "Error")[:n_numbers]]
        return [head, *([name, *(f"{self._random.uniform(10, 99):.2f}" for _ in range(n_numbers))] for name in names)]

    def algorithm(self) -> None:
        """Numbered steps between rules."""
        number, title = self._count("algorithm"), self.title()
        steps = (
            "input: rows and a limit",
            "for each row do",
            "measure the row",
            "if it passes then keep it",
            "return the kept rows",
        )
        lines = "\\\\\n".join(f"{i + 1}: {step}" for i, step in enumerate(steps))
        tex = f"\\begin{{algorithm}}[t]\\caption{{{title}}}\\noindent {lines}\\end{{algorithm}}\n"
        body = " ".join(f"{i + 1}: {step}" for i, step in enumerate(steps))
        self.elements.append(Element("algorithm", tex, f"Algorithm {number} {title} {body}"))

    def references(self, n: int) -> None:
        """The list of references: our own notes, hanging, numbered or not."""
        self.elements.append(
            Element("heading", "\\begin{thebibliography}{99}\n", self._references_title(), 1, "References")
        )
        for i in range(n):
            text = f"{AUTHORS}. {self.title()}. Sample notes, {2401000 + i}, pages {i + 2}–{i + 9}, 2024."
            label = "" if self.style.is_author_year else f"[{i + 1}] "
            tex = f"\\bibitem{{n{i}}} {text.replace('–', '--')}\n"
            self.elements.append(Element("entry", tex, label + prose.as_read(text)))
        self.elements.append(Element("command", "\\end{thebibliography}\n", ""))

    def _references_title(self) -> str:
        return "REFERENCES" if self.style.is_upper else "References"


def write_body(writer: Writer) -> None:
    """Everything behind the abstract: each kind of element where papers have it."""
    style = writer.style
    writer.heading(1, "Introduction")
    _opening_paragraph(writer)
    writer.paragraph(5, footnote=True)
    if style.has_narrow_floats:
        writer.figure()
    writer.paragraph(7)
    writer.heading(1, "Related Work")
    writer.run_in()
    writer.run_in()
    _method(writer)
    _experiments(writer)
    writer.heading(1, "Conclusion")
    writer.paragraph(6)
    writer.heading(1, "Acknowledgments", is_numbered=False)
    writer.paragraph(2)
    writer.references(14)
    if style.has_appendix:
        writer.appendix()
        for _ in range(2):
            writer.heading(1, writer.title())
            writer.paragraph(6)
            writer.paragraph(5)


def _opening_paragraph(writer: Writer) -> None:
    if writer.style.has_dropped_capital:
        writer.paragraph(
            6,
            Phrase("\\dropped{I}{n} the first lines a capital is dropped.", "IN the first lines a capital is dropped."),
        )
    else:
        writer.paragraph(6)


def _method(writer: Writer) -> None:
    writer.heading(1, writer.title())
    writer.paragraph(5)
    writer.heading(2, writer.title())
    writer.paragraph(5)
    writer.display()
    writer.paragraph(4, footnote=True)
    if writer.style.has_narrow_floats:
        writer.algorithm()
    writer.paragraph(6)
    writer.heading(2, writer.title())
    writer.paragraph(4)
    writer.theorem()
    writer.paragraph(6)
    writer.items(3)
    writer.paragraph(5)


def _experiments(writer: Writer) -> None:
    writer.heading(1, writer.title())
    writer.paragraph(6)
    writer.table(is_wide=True)
    writer.heading(2, writer.title())
    writer.paragraph(7)
    writer.figure(is_wide=True)
    writer.paragraph(6, footnote=True)
    writer.display()
    writer.paragraph(5)
    if writer.style.has_narrow_floats:
        writer.table()
    writer.heading(2, writer.title())
    for n in (8, 7, 6, 8, 7):
        writer.paragraph(n)
