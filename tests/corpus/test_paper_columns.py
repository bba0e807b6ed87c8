"""Columns of papers: the rows they were made of, the newest of each, the first of a cap."""

from __future__ import annotations

import pickle
import random

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.corpus import arxiv, records
from jobs.corpus.paper_columns import PaperColumns
from jobs.corpus.records import PaperRow
from tests.corpus.kaggle_lines import random_row, row


def random_papers(n: int, seed: int = 1) -> list[PaperRow]:
    rng = random.Random(seed)
    lines = (random_row(rng, number) for number in range(1, n + 1))
    return [records.to_row(line, records.history(line.get("versions")), "kaggle", 7) for line in lines]


def columns_of(rows: list[PaperRow]) -> PaperColumns:
    papers = PaperColumns()
    for paper in rows:
        papers.append(paper)
    return papers


def record_of(paper_id: str, version: int, update_date: str, source: str, offset: int) -> PaperRow:
    line = row(id=paper_id)
    found = records.to_row(line, records.history(line["versions"]))
    found.update(version=version, update_date=update_date, source=source, offset=offset)
    return found


def test_columns_give_back_their_rows() -> None:
    rows = random_papers(200)
    papers = pickle.loads(pickle.dumps(columns_of(rows)))
    assert (papers.rows(), len(papers)) == (rows, 200)


def test_columns_and_rows_make_the_same_table() -> None:
    rows, dataset = random_papers(200), DATASETS["papers"]
    table = tables.make_table(dataset, ({name: row[name] for name in dataset.columns} for row in map(dict, rows)))
    assert tables.table_of_columns(dataset, columns_of(rows).columns) == table


def test_added_columns_are_the_rows_of_both_and_leave_the_others_alone() -> None:
    rows = random_papers(20)
    first, second = columns_of(rows[:8]), columns_of(rows[8:])
    first.extend(second)
    assert (first.rows(), second.rows()) == (rows, rows[8:])


def test_rows_are_taken_in_the_order_asked() -> None:
    rows = random_papers(20)
    assert columns_of(rows).take([7, 3]).rows() == [rows[7], rows[3]]


def test_newest_record_of_each_paper_wins_in_any_order() -> None:
    winners = [
        record_of("2401.00001", 2, "2024-01-01", "kaggle", 0),
        record_of("2401.00002", 1, "2024-02-01", "kaggle", 0),
        record_of("2401.00003", 1, "2024-01-01", "oai", 0),
        record_of("2401.00004", 1, "2024-01-01", "kaggle", 9),
    ]
    losers = [
        record_of("2401.00001", 1, "2024-03-01", "oai", 9),
        record_of("2401.00002", 1, "2024-01-01", "oai", 9),
        record_of("2401.00003", 1, "2024-01-01", "kaggle", 9),
        record_of("2401.00004", 1, "2024-01-01", "kaggle", 0),
        record_of("2401.00004", 1, "", "oai", 0),
    ]
    rng = random.Random(3)
    for _ in range(50):
        papers = columns_of(rng.sample(winners + losers, 9))
        assert papers.take(papers.newest()).rows() == winners


def test_cap_keeps_the_first_by_id_hash_in_the_order_given() -> None:
    papers = columns_of([record_of(f"2401.{number:05d}", 1, "", "", 0) for number in range(1, 30)])
    ids = papers.columns["paper_id"]
    kept = papers.capped(range(29), 5)
    assert [ids[i] for i in kept] == sorted(sorted(ids, key=arxiv.id_hash)[:5])


def test_larger_cap_only_adds_and_none_keeps_all() -> None:
    papers = columns_of([record_of(f"2401.{number:05d}", 1, "", "", 0) for number in range(1, 30)])
    assert set(papers.capped(range(29), 5)) < set(papers.capped(range(29), 9))
    assert papers.capped(range(29), 0) == papers.capped(range(29), 99) == list(range(29))
