"""The card of a merged model: what it is made of, what it learnt from, what was measured, what it is not for."""

from __future__ import annotations

import json
from collections import Counter

from jobs.core.lake import Lake, Part
from jobs.serving.candidate import ServedStudent
from jobs.tuning.learnt import TRAINING_FILE, Learnt

_CARD = """\
---
base_model: {base}
library_name: transformers
pipeline_tag: text-generation
tags: [arxiv, qlora, spark-arxiv]
---

# A student of {lake}

{base} ({parameters:,} parameters, revision {revision}), fine-tuned by QLoRA to answer questions from passages of
arXiv papers and to name the passage that it relies on. The adapter is merged into the weights that it was trained on
(the base in NF4, taken back to plain numbers), so that no adapter is needed; on test prompts the merged model differs
from the trained one by {kl:.1e} nats a token.

## What it learnt from

{rows} question and answer pairs of {papers} papers{categories}, {steps} steps, {tokens:,} tokens. The papers' licences:
{licences}. Questions and answers were written by a teacher from passages of these papers and checked by rules; test
papers were never shown. A model that was trained on papers is not a copy of them, but whether it may be passed on is
for you to judge: read docs/operations.md of Spark-ArXiv.

## What was measured

{findings}

## How to use it

Ask with passages, in the prompt of `jobs/tuning/prompts.py`; without passages it answers from memory, which no source
stands behind. It is meant for people who check the sources. It is not meant for advice in medicine, law or finance.
"""


def text_of(lake: Lake, student: ServedStudent, parameters: int, kl: float) -> str:
    """README.md of a model of so many parameters; `kl`: how far it is from its adapter on its base."""
    base, adapter = student.base, student.adapter
    training = json.loads(adapter.file(TRAINING_FILE).read_bytes())
    categories = " ".join(lake.definition.categories)
    return _CARD.format(
        base=base.name,
        lake=lake.lake_file.name,
        parameters=parameters,
        revision=base.revision,
        kl=kl,
        rows=training["n_rows"],
        papers=len(Learnt.read(adapter).papers),
        categories=f" in {categories}" if categories else "",
        steps=training["n_steps"],
        tokens=training["n_tokens"],
        licences=_licences(lake, adapter),
        findings=_findings(student.report),
    )


def _licences(lake: Lake, adapter: Part) -> str:
    """How many papers of each licence the adapter has seen."""
    qa = next((one for one in adapter.manifest.inputs if one.dataset == "qa" and one.key), None)
    if qa is None or not lake.has("qa", "all", str(qa.key)):
        return "unknown, for the pairs are no longer in the lake"
    learnt = Learnt.read(adapter).papers
    rows = lake.published("qa", "all", str(qa.key)).rows(["paper_id", "license"])
    of_paper = {row["paper_id"]: row["license"] or "none named" for row in rows if row["paper_id"] in learnt}
    counted = Counter(of_paper.values())
    return ", ".join(f"{name} ({n})" for name, n in sorted(counted.items())) or "none named"


def _findings(report: Part | None) -> str:
    """The report's first lines."""
    if report is None:
        return "No report is in the lake."
    lines = report.file("report.md").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("- ")) or "The report says nothing."
