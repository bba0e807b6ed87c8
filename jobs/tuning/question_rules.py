"""Rules that make a question of a sentence: each looks at one clause and answers the question, or None.

A rule asks only what its sentence answers: what stands behind `because` is asked with why, a number with how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from jobs.retrieval.sentences import word_set
from jobs.tuning.clauses import Clause, in_question, parse
from jobs.tuning.english import AUXILIARIES, DEEDS, OBJECT_VERBS, VERBS, is_participle

Rule = Callable[[Clause], str | None]

_NUMBER = (
    r"(?:\d[\d.,]*(?:[kM%]|\s(?:million|billion|thousand|hundred))?|two|three|four|five|six|seven|eight|ten|sixteen)"
)
_ABOUT = r"(?:(?:about|only|at most|at least|more than|up to|roughly|nearly|another)\s)?"
_MEMORY = re.compile(rf"^{_ABOUT}{_NUMBER}\s(?:bytes?|[kKMGT]B|[kMGT]iB)\b")
_MANY = re.compile(rf"^{_ABOUT}{_NUMBER}\s((?:[a-z]+(?:-[a-z]+)*\s){{0,2}}?[a-z-]{{3,}}s(?:\sof\s[a-z-]+s)?)\b")
_DEFAULT = re.compile(rf"^{_ABOUT}{_NUMBER}\b.*\bby default$")
_OTHER_PART = r"(?:(?:an?|the)\s)?(?:[\w-]+(?:\s[\w-]+){0,5}?)"
_THAN = re.compile(
    rf"\b(?:better|worse|fewer|less|more|faster|slower|larger|smaller|cheaper|higher|lower|stronger|easier|harder|older"
    rf"|newer|simpler|weaker|safer|finer|denser|longer|shorter|closer)\b(?:\s[\w-]+){{0,5}}?\sthan\s({_OTHER_PART})"
    rf"(?=$|[,;:(]|\s(?:and|because|when|if|in|on|for|does|do|is|are|can|at|by)\b)"
)
_VAGUE = re.compile(
    r"\b(?:that|those|it|them|one|ones|they|any|others?|all|usual|before|half|about|necessary|needed|expected|first"
    r"|second|two|three|four|five)\b|\d|^\W*\w{1,2}$|^(?:in|for|on|at|by|with|from|to)\b|\binteract"
)
_BECAUSE = re.compile(r"^(?P<what>[^,;:]+?)(?:,? because|, since) (?P<reason>.+)$")
_NOT_A_REASON = re.compile(r"\b(?:not|only|just|precisely|mainly|partly|simply|than|and|or)$")
_WHEN = re.compile(r"^(?P<what>[^,;:]+?) (?:only )?(?:if|when|unless) (?P<condition>[^;:]+)$")
_NO_STATE = re.compile(r"^(?:the|an?|that)\b|\b(?:even|as|than|even if)$")  # "is the time when", "is as good as when"
_BY_DOING = re.compile(r"^(?P<what>[^,;:]{4,90}?) by (?:[a-z-]+ing)\b")
_APPOSITIVE = re.compile(
    r"^(?P<what>(?:(?:The|An?) )?[A-Z0-9][\w-]*(?: [\w()-]+){0,4}), "
    r"(?P<done>published|introduced|proposed|invented|described) by (?=[A-Z])"
)
_REPORTED = re.compile(
    r"^(?P<who>(?!In\b|On\b|As\b)[A-Z][\w’'-]+(?:,? (?:and |[A-Z])[\w’'-]+){0,3}) "
    r"(?P<verb>find|finds|report|reports|show|shows|argue|argues|observe|observes|prove|proves|conclude|concludes|"
    r"conjecture|conjectures|found|reported|showed|argued|observed|proved|concluded) that (?P<claim>.+)$"
)
_SAID = {"found": "find", "reported": "report", "showed": "show", "argued": "argue", "observed": "observe"}
_NO_DEFINITION = re.compile(
    r"^(?:(?:a|an|the) (?:matter|mistake|feature|same|only|reason|good|bad|right|wrong|best|worst|common|case|better"
    r"|usual|safe|different|useful|usable|typical|first|second|third|last|next|other|main|price|cost|true|few|most|little"
    r"|bit|lot|result|consequence|topic|goal|order of magnitude|challenge|new|classic|use|key|core|crucial|critical"
    r"|important|fundamental|central|successful|popular|known|mature|active|major|essential|significant|challenging"
    r"|difficult|non-?trivial|very|simple|proxy|subject|mainstay)\b)"
)
_CALLED = re.compile(r"^(?:also )?called (?P<term>[^,;:()]{3,50})$")
_LINKING = word_set("is are was were can may has have")
_MEASURABLE = word_set("need cost learn perform take give produce lose keep carry waste work run beat score")
_SECOND_VERB = re.compile(
    r"\band (?:then )?(?:[a-z]+s (?:the|an?|no|nothing|each|all|its|their)|is|are|does|do|has|approximate)\b"
)
_FINDING_VERBS = word_set("find report show prove conclude confirm suggest recommend observe argue conjecture propose")
_TOLD_HOW = ("by", "as", "through", "from", "into")
_TOLD_WHEN = ("before", "after", "when", "if", "until", "unless", "once")
_VAGUE_PARTICIPLES = ("compared", "turned", "given", "made", "taken", "put", "followed", "used", "replaced", "meant")
_NO_OBJECT = word_set(
    "no in on with for from to at by between over under into without per as than well better worse less more much"
    " faster when if because since only so and or but while where until before after about up down out off back away"
    " again"
)
_SAYS_LITTLE = re.compile(
    r"(?:several|some|many|various|certain|new|important|interesting|small|large)\b(?!.*(?:such as|including|:))"
    r"|[^,;:]*\b(?:faster|better|slower)\b(?! than)"
)
_PURPOSE = re.compile(r"^(used|meant|needed|intended|made) (?:for|to) \w")
_WITH_PREPOSITION = {
    **{"depend": "on", "consist": "of", "rely": "on", "refer": "to", "lead": "to", "suffer": "from", "ask": "for"},
    **{"start": "from", "begin": "with", "belong": "to", "apply": "to", "differ": "from", "attend": "to"},
}


def of_sentence(sentence: str, text: str) -> Iterator[tuple[str, str]]:
    """Types and questions of a sentence, by rules that need no subject in front of its verb."""
    if match := _APPOSITIVE.match(sentence):
        yield "result", f"Who {match['done']} {in_question(match['what'], text)}?"
    if match := _REPORTED.match(sentence.removesuffix(".")):
        claim = parse(f"{match['claim'][0].upper()}{match['claim'][1:]}.", text)
        if claim is not None:
            auxiliary, verb = _said(match["verb"], is_plural=" and " in match["who"])
            yield "result", f"What {auxiliary} {match['who']} {verb} about {claim.subject}?"


def _said(verb: str, *, is_plural: bool) -> tuple[str, str]:
    if verb.endswith("ed") or verb == "found":
        return "did", _SAID.get(verb, verb.removesuffix("d").removesuffix("e") if verb == "showed" else verb[:-1])
    return ("do", verb) if is_plural else ("does", verb.removesuffix("s"))


def _definition(clause: Clause) -> str | None:
    if clause.base == "stand" or clause.verb in ("stands", "stand") or clause.is_activity:
        return None
    if clause.verb in ("is", "are") and re.match(r"(?:an?|the|one(?! of)) (?:[\w-]+[ ,:]){2}", clause.rest):
        return None if _NO_DEFINITION.match(clause.rest) else f"What {clause.verb} {clause.subject}?"
    if clause.base == "mean" and clause.verb not in AUXILIARIES:
        return f"What {clause.does} {clause.subject} mean?"
    return None


def _called(clause: Clause) -> str | None:
    match = _CALLED.match(clause.rest) if clause.verb in ("is", "are") else None
    return f"What {clause.verb} {match['term']}?" if match else None


def _why(clause: Clause) -> str | None:
    match = _BECAUSE.match(clause.rest)
    if match is None or _NOT_A_REASON.search(match["what"]) or _SECOND_VERB.search(match["what"]):
        return None
    return f"Why {_inverted(clause, match['what'])}?"


def _when(clause: Clause) -> str | None:
    match = _WHEN.match(clause.rest) if clause.verb in ("is", "are") else None
    if match is None or len(match["what"].split()) > 10 or _NO_STATE.search(match["what"]):
        return None
    return f"When {_inverted(clause, match['what'])}?"


def _limitation(clause: Clause) -> str | None:
    denied = clause.rest if clause.verb == "cannot" else clause.rest.removeprefix("not ")
    if clause.verb not in ("cannot", "does", "do") or (denied == clause.rest and clause.verb != "cannot"):
        return None
    verb, *others = denied.split()
    if verb not in VERBS or not others or _is_no_object(others[0]) or re.search(r"\bbecause\b", denied):
        return None
    auxiliary = "can" if clause.verb == "cannot" else clause.verb
    return f"What {auxiliary} {clause.subject} not {verb}?"


def _comparison(clause: Clause) -> str | None:
    match = _THAN.search(re.split(r"[,;:]|\b(?:which|that|where)\b", clause.rest)[0])
    if clause.verb not in _LINKING and clause.base not in _MEASURABLE:
        return None
    if match is None or _VAGUE.search(match[1]) or match[1].split()[-1] in ("the", "a", "an", "of"):
        return None
    return f"How {clause.does} {clause.subject} compare with {match[1]}?"


def _numeric(clause: Clause) -> str | None:
    if clause.verb in ("is", "are"):
        return f"What {clause.verb} {clause.subject} by default?" if _DEFAULT.match(clause.rest) else None
    has = clause.verb in ("has", "have")
    if (clause.verb in AUXILIARIES and not has) or clause.base == "compare":
        return None
    verb = "have" if has else clause.base
    if verb in ("need", "take", "require", "occupy", "use", "cost") and _MEMORY.match(clause.rest):
        return f"How much memory {clause.does} {clause.subject} {verb}?"
    match = _MANY.match(clause.rest)
    is_vague = match is None or match[1].split()[-1] in ("times", "things", "ways", "has", "does", "is", "this", "bits")
    return None if is_vague or match is None else f"How many {match[1]} {clause.does} {clause.subject} {verb}?"


def _how_done(clause: Clause) -> str | None:
    words = clause.rest.split()
    if clause.verb not in ("is", "are", "was", "were") or len(words) < 3 or not is_participle(words[0]):
        return None
    if not _is_known(clause):  # how a paper's own "equilibrium states" are obtained only its reader asks
        return None
    if words[1] == "by" and clause.verb in ("was", "were") and words[2][0].isupper() and not words[2].endswith("’s"):
        return f"Who {words[0]} {clause.subject}?"
    question_word = _question_word(words[0], words[1])
    return f"{question_word} {clause.verb} {clause.subject} {words[0]}?" if question_word else None


def _how_by(clause: Clause) -> str | None:
    match = _BY_DOING.match(clause.rest)
    if match is None or clause.verb in AUXILIARIES or _SECOND_VERB.search(match["what"]):
        return None
    return f"How {clause.does} {clause.subject} {clause.base} {match['what']}?"


def _what(clause: Clause) -> str | None:
    """The rule for what no other rule asks for: the object of the verb."""
    if clause.verb in AUXILIARIES or clause.has_known_object or _SAYS_LITTLE.match(clause.rest):
        return None
    base, first = clause.base, clause.rest.split()[0]
    if preposition := _WITH_PREPOSITION.get(base):
        return f"What {clause.does} {clause.subject} {base} {preposition}?" if first == preposition else None
    return None if base not in OBJECT_VERBS or _is_no_object(first) else f"What {clause.does} {clause.subject} {base}?"


def _finding(clause: Clause) -> str | None:
    is_finding = clause.verb not in AUXILIARIES and clause.base in _FINDING_VERBS
    return (
        f"What {clause.does} {clause.subject} {clause.base}?"
        if is_finding and not _is_no_object(clause.rest.split()[0])
        else None
    )


def _duty(clause: Clause) -> str | None:
    words = clause.rest.split()
    if clause.verb not in ("must", "should", "can") or len(words) < 4:
        return None
    question_word = _question_word(words[1], words[2]) if words[0] == "be" and is_participle(words[1]) else None
    if question_word:
        return f"{question_word} {clause.verb} {clause.subject} be {words[1]}?"
    is_object = words[0] in OBJECT_VERBS and not _is_no_object(words[1])
    return f"What {clause.verb} {clause.subject} {words[0]}?" if is_object else None


def _question_word(participle: str, after: str) -> str | None:
    """What `is done by …` or `is done before …` answers."""
    if after in _TOLD_WHEN:
        return "When"
    is_clear = participle not in _VAGUE_PARTICIPLES or (participle == "compared" and after == "by")
    return "How" if after in _TOLD_HOW and is_clear else None


def _let(clause: Clause) -> str | None:
    words = clause.rest.split()[:6]
    places = [i for i, word in enumerate(words[2:5], start=2) if word in VERBS]
    if (
        clause.verb not in ("lets", "let", "helps", "help")
        or not places
        or words[0] not in ("a", "an", "the", "each", "every")
    ):
        return None
    whom = " ".join(words[: places[-1]]).removesuffix(" to")
    return f"What {clause.does} {clause.subject} {clause.base} {whom} do?"


def _deed(clause: Clause) -> str | None:
    """The most general question, for a subject that is more than one common word."""
    if clause.verb in AUXILIARIES or _is_no_object(clause.rest.split()[0]):
        return None
    if not _is_known(clause) or clause.has_known_object or clause.is_activity or clause.base not in DEEDS:
        return None
    if _SAYS_LITTLE.match(clause.rest) or clause.rest[0].isdigit():
        return None
    return f"What {clause.does} {clause.subject} do?"


def _is_known(clause: Clause) -> bool:
    """Whether its subject is known by name, or is any of its kind."""
    return clause.has_name or clause.subject.startswith(("a ", "an "))


def _purpose(clause: Clause) -> str | None:
    is_general = clause.has_name or not clause.subject.startswith(("a ", "an ", "the "))
    match = _PURPOSE.match(clause.rest) if clause.verb in ("is", "are") and is_general else None
    return f"What {clause.verb} {clause.subject} {match[1]} for?" if match else None


def _is_no_object(word: str) -> bool:
    return word in _NO_OBJECT or word.endswith(("ly", ","))


def _stands_for(clause: Clause) -> str | None:
    is_short = len(clause.subject.split()) <= 3
    return (
        f"What does {clause.subject} stand for?"
        if is_short and clause.rest.startswith("for ") and clause.verb == "stands"
        else None
    )


def _inverted(clause: Clause, what: str) -> str:
    """The clause as it stands behind a question word: auxiliary, subject, the rest."""
    if clause.verb == "cannot":
        return f"can {clause.subject} not {what}"
    if clause.verb in AUXILIARIES and clause.verb not in ("has", "have", "had"):
        return f"{clause.verb} {clause.subject} {what}"
    verb = "have" if clause.verb in ("has", "have", "had") else clause.base
    return f"{clause.does} {clause.subject} {verb} {what}"


RULES: tuple[tuple[str, Rule], ...] = (
    ("definition", _stands_for),
    ("definition", _definition),
    ("definition", _called),
    ("why", _why),
    ("numeric", _numeric),
    ("comparison", _comparison),
    ("limitation", _limitation),
    ("result", _finding),
    ("method", _how_by),
    ("method", _purpose),
    ("method", _when),
    ("method", _how_done),
    ("method", _duty),
    ("method", _what),
    ("method", _let),
    ("method", _deed),
)
# Types whose rules are the surest choose their sentence first.
BEST_FIRST = ("why", "numeric", "comparison", "result", "definition", "limitation", "method")
