"""Other splitters: `peers_chunk.py TOOL TEXTS CHARS SECONDS` cuts a JSON list of texts, prints {cpu_s, n_chunks}.

Started in environments of their own, so only the standard library is imported at the top.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Cut = Callable[[str], Sequence[str]]


def langchain(n_chars: int) -> Cut:
    """LangChain's recursive splitter without overlap."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    return RecursiveCharacterTextSplitter(chunk_size=n_chars, chunk_overlap=0).split_text


def semchunk(n_chars: int) -> Cut:
    """semchunk, with characters for tokens and without the results that it remembers."""
    import semchunk

    return semchunk.chunkerify(len, n_chars, memoize=False)


TOOLS: dict[str, Callable[[int], Cut]] = {"langchain": langchain, "semchunk": semchunk}


def main(tool: str, path: str, n_chars: int, at_least_s: float) -> None:
    """CPU-seconds of one pass over all texts: the least of as many as fit."""
    texts = json.loads(Path(path).read_text())
    cut = TOOLS[tool](n_chars)
    n_chunks = sum(len(cut(text)) for text in texts)
    took: list[float] = []
    while sum(took) < at_least_s:
        begun = time.process_time()
        for text in texts:
            cut(text)
        took.append(time.process_time() - begun)
    print(json.dumps({"cpu_s": min(took), "n_chunks": n_chunks}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
