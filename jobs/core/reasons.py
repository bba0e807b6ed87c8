"""Why a row is refused: one closed list a dataset. A stage counts every refusal under one of these names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why a row was refused. `is_retried`: the next run may have more luck; `counts_as_read`: see DESIGN 3."""

    meaning: str
    is_retried: bool = False
    counts_as_read: bool = True


PAPER_REASONS = {
    "malformed": Reason("the line is no JSON object, or a field has the wrong type"),
    "bad_id": Reason("the id has none of arXiv's forms"),
    "other_category": Reason("a category's letters occur among the paper's categories, but not as one of them"),
    "no_keyword": Reason("no keyword occurs in title or abstract"),
    "not_listed": Reason("`ids` does not list the paper"),
    "superseded": Reason("the snapshots hold a newer record of the same paper"),
    "over_cap": Reason("`max_papers_per_window` papers come before it in order of id hash"),
    "taken_down": Reason("the owner took the paper down"),
}

PDF_REASONS = {
    "not_there": Reason("the folder has no PDF of the paper", counts_as_read=False),
    "withdrawn": Reason("the paper was withdrawn: there is no PDF", counts_as_read=False),
    "not_found": Reason("the server has no version of the PDF (404)"),
    "blocked": Reason("the server may not hand it out for legal reasons (451)"),
    "forbidden": Reason("the server refuses (401, 403)", is_retried=True),
    "not_asked": Reason("the server forbade another paper, and all requests ended with that", is_retried=True),
    "bad_redirect": Reason("the server points to a host that is not allowed"),
    "not_pdf": Reason("what came does not begin with %PDF-"),
    "too_large": Reason("larger than `max_pdf_mb`"),
    "truncated": Reason("fewer bytes came than were announced", is_retried=True),
    "rate_limited": Reason("the server asked to slow down until the tries were used up (429, 503)", is_retried=True),
    "server_error": Reason("the server failed on every try (5xx)", is_retried=True),
    "timeout": Reason("no answer in time on every try", is_retried=True),
    "network": Reason("no connection, or it broke, on every try", is_retried=True),
    "over_budget": Reason("the run's requests or GB were used up before it", is_retried=True, counts_as_read=False),
}

DOCUMENT_REASONS = {
    "not_pdf": Reason("the file is no PDF"),
    "truncated": Reason("the PDF ends early (no %%EOF), and no page of it can be read"),
    "encrypted": Reason("the PDF wants a password"),
    "no_text": Reason("no text layer, as in a scan"),
    "garbled": Reason("the text layer is not readable text"),
    "hidden_text": Reason("most of the text cannot be seen on the page"),
    "too_large": Reason("the file is larger than `max_pdf_mb`"),
    "too_many_pages": Reason("more pages than `max_pages`"),
    "text_too_long": Reason("more characters than `max_text_chars`"),
    "timeout": Reason("reading took longer than `pdf_timeout_s`, or more CPU than `pdf_cpu_s`"),
    "memory": Reason("reading needed more memory than `pdf_memory_mb`"),
    "crashed": Reason("the reader's process died"),
    "parse_error": Reason("the reader raised an error"),
}

CHUNK_REASONS = {
    "rejected_document": Reason("the document has no text", counts_as_read=False),
    "no_chunk": Reason("nothing long enough to be a chunk is left of the document"),
}

# Why a chunk is worth little. It is kept all the same: nothing is counted under these.
LOW_VALUE_REASONS = {
    "near_duplicate": "earlier chunks of the document say nearly all of it in the same words; it is not embedded",
    "boilerplate": "thanks, funding, interests, contributions, contents, a licence or the answers of a checklist",
    "examples": "prompts, or what a model was asked and said: nothing there is meant to be true",
    "mostly_symbols": "formulas, numbers or program text with hardly a word between",
    "too_few_words": "a heading or a remnant: too few words to say something",
    "names": "a list of names",
}

SNAPSHOT_REASONS = {
    "no_arxiv_id": Reason("neither the PDF's name nor its first page has an arXiv id"),
    "unreadable": Reason("the PDF's first page cannot be read, and its name has no arXiv id"),
    "duplicate": Reason("another PDF of the folder is the same version of the same paper"),
    "malformed": Reason("the OAI server's record has no arXiv id, no day or no metadata"),
    "superseded": Reason("a newer record of the same paper was harvested"),
    "deleted": Reason("arXiv deleted the record of a paper of which nothing else is known"),
}

EMBEDDING_REASONS = {
    "other_kind": Reason("the chunk's kind is none of `embedded_kinds`"),
    "near_duplicate": Reason("earlier chunks of the document say it in the same words (`low_value`)"),
}

INDEX_REASONS = {
    "older_version": Reason("the chunk's paper has a newer version in the index"),
    "withdrawn": Reason("the chunk's paper was withdrawn"),
    "duplicate": Reason("another chunk of the same paper has the same text"),
    "taken_down": Reason("the owner took the chunk's paper down"),
}

DRAFT_REASONS = {
    "no_pair": Reason("the teacher found nothing in the chunk that makes a question"),
    "instructions": Reason("the chunk gives instructions to a language model, so it is not shown to one"),
    "refused": Reason("the teacher declined, or a filter of its server cut the reply"),
    "truncated": Reason("the teacher's reply was cut at its token limit"),
    "malformed": Reason("the teacher's reply is no JSON object of the form that was asked for"),
    "oversized": Reason("the teacher's reply is longer than any pair may be"),
    "teacher_failed": Reason("the teacher failed on every try (timeout, 429, 5xx)", is_retried=True),
}

QA_REASONS = {
    "not_in_index": Reason("its chunk is not in the index: its paper has a newer version, was withdrawn or taken down"),
    "no_evidence": Reason("it quotes nothing of its chunk"),
    "evidence_not_found": Reason("its quote is not in its chunk, blanks apart"),
    "question_too_short": Reason("the question has too few words"),
    "question_too_long": Reason("the question has too many words"),
    "answer_too_short": Reason("the answer has too few words"),
    "answer_too_long": Reason("the answer has too many words"),
    "no_question": Reason("the question does not end with a question mark, or has two"),
    "answer_in_question": Reason("the question holds the answer"),
    "points_elsewhere": Reason("it cannot be understood alone: `this paper`, `Table 2`, a pronoun without its noun"),
    "not_prose": Reason("too few of its characters are letters of words, or it holds control characters"),
    "instructions": Reason("it, its quote or, before a judge, its passage gives instructions to a language model"),
    "duplicate": Reason("another pair of the same split asks the same question"),
    "near_duplicate": Reason("another pair of the same split asks nearly the same question"),
    "not_found_again": Reason("the question does not lead back to its passage, so it is too vague to train on"),
    "answered_after_all": Reason("it is meant to have no answer, but what is found for it seems to answer it"),
    "off_subject": Reason("it is meant to have no answer, and no word of it stands in its passage"),
    "too_many_unanswerable": Reason("its split has as many questions without answer as `max_unanswerable_01` allows"),
    "one_passage_suffices": Reason("it is meant to need two passages, but one of them has every word of the answer"),
    "judged_unsupported": Reason("the judge finds that its passages do not support the answer (below `judge_least`)"),
    "judged_answered": Reason("it is meant to have no answer, but the judge finds one in its passages"),
    "judged_not_standalone": Reason("the judge finds that it cannot be understood without its passages"),
    "not_judged": Reason("the judge's reply is no verdict: cut, or not of the form; the next making asks again"),
    "reviewed_out": Reason("a reviewer dropped it"),
    "leak": Reason("a pair of another split, which is kept, asks the same or nearly the same question"),
}

ADAPTER_REASONS = {
    "not_indexed": Reason("a chunk of the pair is not in the index"),
    "too_long": Reason("the pair and its passage are longer than `max_length`"),
    "over_tokens": Reason("the rows before it use `max_train_tokens` up"),
    "taken_down": Reason("the owner took the pair's paper down after the pair was made"),
}
