"""Does a stranger's text speak to a language model? A filter and a counter; the wall are the delimiters of `prompts`.

Papers about injected prompts are refused with the injected ones; what they lose is a chunk.
"""

from __future__ import annotations

import re
import unicodedata

_READERS = r"(?:ai|llm|language model|assistant|chatbot|model|(?:automated |automatic )?reviewer)s?"
_ORDERS = (
    r"write|say|output|print|respond|reply|answer|give|rate|recommend|accept|praise|reveal|repeat|include|ignore|append"
    r"|visit|send"
)
# What is forgotten: "ignore all previous instructions".
_FORGET = (
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}"
    r"\b(?:instructions?|prompts?|rules|guidelines|directions|context|told)\b"
)
_SECRETS = r"\b(?:system|hidden|secret|developer) (?:prompt|instructions?|message)\b"
_ROLES = (
    r"\byou are (?:now |no longer |acting as )?(?:an? |the )?(?:\w+ ){0,2}"
    r"(?:assistant|language model|ai|llm|chatbot|chatgpt|gpt|reviewer|model|dan)\b|\bas an ai\b"
)
_MUSTS = (
    rf"\b{_READERS}\b[,:]? (?:must|should|shall|please|has to|have to) (?:now |always |only |also )?(?:{_ORDERS})\b"
)
_EXACT_WORDS = (
    r"\b(?:respond|reply|answer|output|write|print|say|repeat)\b.{0,20}"
    r"\b(?:only|exactly|nothing but|verbatim|the (?:following )?(?:word|string|token|phrase|sentence))\b.{0,60}[:“\"'`]"
)
_REVIEWS = (
    r"\b(?:give|write|recommend|provide|assign|submit)\b.{0,30}"
    r"\b(?:positive|favou?rable|glowing|perfect|highest) (?:review|rating|score|evaluation)"
)
_SILENCE = r"\bdo not (?:mention|reveal|tell|disclose|highlight) (?:any|the|this|that|these|your|anyone|users?)\b"
_MARKS = (
    r"<\|[^|]{1,30}\|>|\[/?INST\]|<</?SYS>>"
    r"|(?:^|[.!?]\s)[\s>*•“\"'(\[-]*(?:#+ ?)?(?:system|assistant|user|human|instructions?) ?:"
    r"|### ?instructions?\b|\b(?:begin|end|new) (?:of )?(?:system |user )?(?:prompt|instructions)\b"
)
_ADDRESSED = (
    r"\b(?:attention|note to|message (?:to|for)|instructions? (?:to|for)) (?:all )?(?:the )?"
    rf"{_READERS}\b|\bcanary\b.{{0,20}}[\w-]{{6,}}|\bjailbreak\b"
)
_INSTRUCTIONS = re.compile(
    "|".join((_FORGET, _SECRETS, _ROLES, _MUSTS, _EXACT_WORDS, _REVIEWS, _SILENCE, _MARKS, _ADDRESSED)),
    re.IGNORECASE | re.MULTILINE,
)
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def gives_instructions(text: str) -> bool:
    """Whether a text gives orders to a language model; look-alike letters and unseen characters hide nothing."""
    visible = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return _INSTRUCTIONS.search(" ".join(visible.split(" "))) is not None
