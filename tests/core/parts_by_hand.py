"""Parts with any key and rows, published as if a stage had made them, and what lies in a lake's folders."""

import hashlib
from pathlib import Path

from jobs.core import tables
from jobs.core.contracts import DATASETS, Dataset
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import Counts
from tests.core.toy import WINDOWS

PDF_NAMES = [f"2401/2401.0000{n}v1.{hashlib.sha256(b'pdf %d' % n).hexdigest()[:12]}.pdf" for n in range(4)]


def snapshot_of(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of a lake but the locks, with what tells whether it was written again."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def key_folders(lake: Lake, dataset: str, part: str = WINDOWS[0]) -> set[str]:
    return {path.name for path in lake.part_folder(dataset, part).iterdir() if len(path.name) == 12}


def publish(
    lake: Lake, dataset: str, key: str, rows: list[dict] | None = None, *, part: str = "all", inputs: tuple = ()
) -> Path:
    """A part with any key, and rows of the real contract if there are any; its folder is returned."""
    key = hashlib.sha256(key.encode()).hexdigest()
    seen_key = lake.current_key(dataset, part)
    task = PartTask("toy", 1, dataset, part, key, inputs, {}, {}, "to do", "test", seen_key)
    with lake.attempt(task) as attempt:
        if rows is not None:
            write_rows(attempt.folder / tables.ROWS_FILE, DATASETS[dataset], rows)
        attempt.finish(Counts(0, 0), rows=len(rows or []))
    return lake.part_folder(dataset, part) / key[:12]


def write_rows(path: Path, dataset: Dataset, rows: list[dict]) -> None:
    table = tables.make_table(dataset, [dict.fromkeys(dataset.columns) | row for row in rows])
    tables.write_tables(path, dataset.schema(), [table])


def publish_pdfs(lake: Lake, key: str, *numbers: int, part: str = WINDOWS[0]) -> Path:
    """A part of pdfs that names these files, which lie in the lake then."""
    rows = []
    for n in numbers:
        content = b"pdf %d" % n
        path = lake.pdf_files / PDF_NAMES[n]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        row = {"paper_id": f"2401.0000{n}", "version": 1, "status": "ok", "path": PDF_NAMES[n]}
        rows.append(row | {"sha256": digest, "size_bytes": len(content)})
    rows.append({"paper_id": "2401.99999", "version": 1, "status": "rejected", "reason": "not_found"})
    return publish(lake, "pdfs", key, rows, part=part)


def pdfs_of(lake: Lake) -> list[int]:
    return [n for n, name in enumerate(PDF_NAMES) if (lake.pdf_files / name).is_file()]
