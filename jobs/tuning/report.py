"""The report on a student: numbers with intervals, a page that says first what was and was not beaten, and a plot."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable
from jobs.tuning import answers_judged, metrics, search_report
from jobs.tuning.gate import REASONS
from jobs.tuning.scoring import JUDGED_METRICS, METRICS, MODES, Scored, metrics_of, value_of

if TYPE_CHECKING:
    import pyarrow

CONTROLS = ("wrong_question", "shuffled_answers")
PAIRS = (
    ("student", "base"),
    ("student", "quoted"),
    ("student", "released"),
    ("wrong_question", "student"),
    ("shuffled_answers", "student"),
)
OPPONENTS = {"base": "its base", "quoted": "quoted sentences", "released": "the released student"}
IS_BETTER_LOW = {"answer_loss": True, "token_f1": False, "rouge_l": False, "faithfulness": False}
HOW_TO_MEASURE = {
    "wrong_question": "It needs test pairs of two papers at least.",
    "shuffled_answers": "Train and measure it with: python -m jobs run --controls true",
}
WHO_ANSWERS = {
    "student": "The chat answers with the student: it surely beats quoted sentences.",
    "quoted": "The chat answers with quoted sentences: no student surely beats them.",
}
NAMES = {"answer_loss": "answer loss", "token_f1": "token F1", "rouge_l": "ROUGE-L", "faithfulness": "faithfulness"}
_UNMEASURED: dict[str, Any] = {"mean": None}

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2rem .6rem}img{max-width:100%}"
)


def assemble(
    rows: Sequence[Scored],
    ranks: dict[str, list[int | None]],
    papers_searched: Sequence[str],
    pairs: Sequence[dict[str, Any]],
    draws: int,
) -> dict[str, Any]:
    """report.json without its gate. `ranks`: by mode of search, of the pairs whose papers are `papers_searched`."""
    by_cell: dict[tuple[str, str], list[Scored]] = {}
    for row in rows:
        if row.is_answerable:
            by_cell.setdefault((row.system, row.mode), []).append(row)
    systems: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for (system, mode), cell in by_cell.items():
        into = controls if system in CONTROLS else systems
        into.setdefault(system, {})[mode] = {name: _score(cell, name, draws) for name in metrics_of(cell)}
    return {
        "systems": systems,
        "controls": controls,
        "paired": _paired(by_cell, draws),
        "refusals": _refusals(rows, draws),
        "retrieval": search_report.scores(ranks, papers_searched, draws),
        "paired_retrieval": search_report.paired(ranks, papers_searched, draws),
        "test": _test_of(pairs),
    }


def rows_table(rows: Sequence[Scored]) -> pyarrow.Table:
    """The scores of every row, for rows.parquet; what was not measured is null."""
    import pyarrow as pa

    measured = (*METRICS, *JUDGED_METRICS)
    columns = ("qa_id", "paper_id", "system", "mode", *measured, "answer", "is_answerable")
    types = dict.fromkeys(measured, pa.float64()) | {"is_answerable": pa.bool_()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    plain = [{name: _none_if_nan(getattr(row, name)) for name in columns} for row in rows]
    return pa.Table.from_pylist(plain, schema=schema)


def as_markdown(made: dict[str, Any]) -> str:
    """The report for people."""
    test = made["test"]
    lines = ["# Report on the student", "", *(f"- {one}" for one in findings(made)), ""]
    lines += [
        f"Measured on {test['n_rows']} pairs of {test['n_papers']} test papers (id {test['id']}); in brackets the"
    ]
    lines += ["95 % interval over papers. Loss: nats a token of the expected answer, lower is better.", ""]
    lines += _systems_table(made["systems"] | made["controls"])
    if made.get("judge"):
        lines += ["", *answers_judged.sentences(made["judge"], made["systems"])]
    if made["refusals"]:
        lines += ["", "## Refusals", "", *_refusals_table(made["refusals"])]
    if made["retrieval"]:
        lines += ["", "## Search", "", *search_report.lines(made)]
    return "\n".join(lines) + "\n"


def findings(made: dict[str, Any]) -> list[str]:
    """What was beaten and what was not, the controls, and the gate's verdict, in sentences."""
    verdict = made["gate"]
    if verdict["passed"]:
        said = ["The gate lets this student answer."]
    else:
        said = ["The gate refuses this student: " + "; ".join(REASONS[name] for name in verdict["reasons"]) + "."]
    said.append(WHO_ANSWERS[made["answers_by"]])
    for opponent in OPPONENTS:
        for mode in MODES:
            for metric, found in made["paired"].get(f"student-{opponent}", {}).get(mode, {}).items():
                if found["diff"] is not None:
                    said.append(_sentence(opponent, mode, metric, found))
    said += _refusal_sentences(made["refusals"].get("student", {}))
    said += [_control_sentence(name, made["paired"].get(f"{name}-student", {})) for name in CONTROLS]
    return said


def as_page(made: dict[str, Any], plot: bytes) -> str:
    """The report as one HTML page that needs nothing else: the text for people, with the plot (PNG) inside."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(as_markdown(made))
    image = base64.b64encode(plot).decode()
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Report on the student</title>'
        f"<style>{_STYLE}</style><body>{body}"
        f'<img alt="Scores by system and mode" src="data:image/png;base64,{image}"></body></html>\n'
    )


def draw(made: dict[str, Any], path: Path) -> None:
    """Bars of every metric by system and mode, with their intervals, as a PNG."""
    from matplotlib.figure import Figure

    cells = [(f"{name}\n{mode}", cell) for name, modes in _all_systems(made).items() for mode, cell in modes.items()]
    figure = Figure(figsize=(12, 4), layout="constrained")
    drawn = _metrics_shown(cell for _, cell in cells)
    for axes, metric in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        shown = [(label, cell[metric]) for label, cell in cells if cell.get(metric, _UNMEASURED)["mean"] is not None]
        means = [one["mean"] for _, one in shown]
        below = [max(0.0, one["mean"] - one["low"]) for _, one in shown]
        above = [max(0.0, one["high"] - one["mean"]) for _, one in shown]
        axes.bar(range(len(shown)), means, yerr=[below, above], capsize=4, color="#4c78a8")
        axes.set_xticks(range(len(shown)), [label for label, _ in shown], rotation=60, fontsize=8)
        axes.set_title(f"{NAMES[metric]} ({'lower' if IS_BETTER_LOW[metric] else 'higher'} is better)", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _metrics_shown(cells: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    there = {name for cell in cells for name in cell}
    return (*METRICS, *(name for name in JUDGED_METRICS if name in there))


def _score(cell: Sequence[Scored], metric: str, draws: int) -> dict[str, Any]:
    """Over the rows that were asked for the metric."""
    asked = [row for row in cell if getattr(row, metric) is not None]
    values = [getattr(row, metric) for row in asked]
    return metrics.score(values, [row.paper_id for row in asked], draws=draws).to_dict()


def _paired(by_cell: dict[tuple[str, str], list[Scored]], draws: int) -> dict[str, Any]:
    paired: dict[str, Any] = {}
    for a, b in PAIRS:
        for mode in MODES:
            if (a, mode) in by_cell and (b, mode) in by_cell:
                found = _differences(by_cell[a, mode], by_cell[b, mode], draws)
                paired.setdefault(f"{a}-{b}", {})[mode] = found
    return paired


def _differences(a: Sequence[Scored], b: Sequence[Scored], draws: int) -> dict[str, Any]:
    """By metric, over the rows that both systems have."""
    others = {row.qa_id: row for row in b}
    both = [(row, others[row.qa_id]) for row in a if row.qa_id in others]
    papers = [row.paper_id for row, _ in both]
    return {
        name: metrics.difference(
            [value_of(row, name) for row, _ in both], [value_of(other, name) for _, other in both], papers, draws=draws
        ).to_dict()
        for name in metrics_of(a)
        if name in metrics_of(b)
    }


def _refusals(rows: Sequence[Scored], draws: int) -> dict[str, Any]:
    """By system that had passages to read: the share refused of the questions without and of those with an answer."""
    found: dict[str, Any] = {}
    for system in dict.fromkeys(row.system for row in rows if row.mode == "retrieval" and row.answer is not None):
        said = [row for row in rows if (row.system, row.mode) == (system, "retrieval") and row.answer is not None]
        for name, is_answerable in (("unanswerable", False), ("answerable", True)):
            cell = [row for row in said if row.is_answerable == is_answerable]
            values = [row.is_refused_01 for row in cell]
            score = metrics.score(values, [row.paper_id for row in cell], draws=draws)
            found.setdefault(system, {})[name] = score.to_dict()
    return found


def _test_of(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ids = sorted(pair["qa_id"] for pair in pairs)
    return {
        "id": durable.sha256_bytes(durable.canonical_json(ids))[:12],
        "n_rows": len(pairs),
        "n_papers": len({pair["paper_id"] for pair in pairs}),
    }


def _sentence(opponent: str, mode: str, metric: str, found: dict[str, Any]) -> str:
    where = "with retrieval" if mode == "retrieval" else "closed book"
    sign = -1 if IS_BETTER_LOW[metric] else 1
    worst, best = sorted((sign * found["low"], sign * found["high"]))
    said = "beats" if worst > 0 else "is beaten by" if best < 0 else "does not surely beat"
    if found["n_papers"] < metrics.LEAST_PAPERS:
        said = {"beats": "may beat", "is beaten by": "may be beaten by"}.get(said, said)
    change = f"{found['diff']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    against = f"{OPPONENTS[opponent]} in {NAMES[metric]}"
    return f"{where.capitalize()}, the student {said} {against}: {change}, n={found['n_rows']}{_too_few(found)}."


def _too_few(found: dict[str, Any]) -> str:
    n = found["n_papers"]
    return f" of {n} papers, too few to be sure" if n < metrics.LEAST_PAPERS else ""


def _refusal_sentences(found: dict[str, Any]) -> list[str]:
    if not found:
        return []
    right, wrong = found["unanswerable"], found["answerable"]
    if not right["n"]:
        return ["No test question is without an answer, so whether the student refuses what it should is not known."]
    said = f"Of questions without an answer the student refuses {_share(right)}"
    return [f"{said}, of those with one, wrongly, {_share(wrong)}." if wrong["n"] else f"{said}."]


def _share(found: dict[str, Any]) -> str:
    return f"{found['mean']:.0%} (n={found['n']})"


def _control_sentence(name: str, found: dict[str, Any]) -> str:
    plain = name.replace("_", " ")
    loss = found.get("retrieval", {}).get("answer_loss", {"diff": None})
    if loss["diff"] is None:
        return f"The control `{plain}` is missing. {HOW_TO_MEASURE[name]}"
    said = "costs the student" if name == "wrong_question" else "leave a student that is worse by"
    return f"Control: {plain} {said} {loss['diff']:+.3f} [{loss['low']:+.3f}, {loss['high']:+.3f}] nats a token."


def _systems_table(systems: dict[str, Any]) -> list[str]:
    names = _metrics_shown(cell for modes in systems.values() for cell in modes.values())
    lines = ["| system | mode | " + " | ".join(NAMES[name] for name in names) + " |", "|---" * (len(names) + 2) + "|"]
    for system, modes in systems.items():
        for mode, cell in modes.items():
            scores = " | ".join(metrics.shown(cell.get(name, _UNMEASURED)) for name in names)
            lines.append(f"| {system} | {mode} | {scores} |")
    return lines


def _refusals_table(refusals: dict[str, Any]) -> list[str]:
    lines = ["| system | refused of those without an answer | refused of those with one |", "|---|---|---|"]
    for system, found in refusals.items():
        lines.append(f"| {system} | {metrics.shown(found['unanswerable'])} | {metrics.shown(found['answerable'])} |")
    return lines


def _all_systems(made: dict[str, Any]) -> dict[str, Any]:
    both: dict[str, Any] = made["systems"] | made["controls"]
    return both


def _none_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
