"""Word lists of English and the forms of verbs: all that the rules of `clauses` and `question_rules` know of it."""

from __future__ import annotations

from jobs.retrieval.sentences import word_set

VERBS = word_set(
    "achieve add allow apply approximate argue assign assume avoid beat begin belong bound bring build carry cause"
    " change choose clip collect combine come compare compile compress compute conclude confirm conjecture consist"
    " contain contribute convert copy correct cost count cover create cut decide decline decode define delete demand"
    " depend derive describe detect determine discard distinguish divide drop embed encode ensure estimate evaluate"
    " examine exceed expand explain exploit express extend extract fail favour fetch fill find fit follow forbid"
    " forget gain generate give grow guarantee guess handle help hide hold ignore improve include increase infer"
    " insert interpolate introduce keep lack lead learn leave let limit list lose lower maintain make map mask match"
    " maximise mean measure merge minimise miss mix move multiply need normalise observe obtain occupy operate"
    " optimise outperform pack pay penalise perform place precompute predict prefer preserve prevent process produce"
    " propose protect prove provide prune punish push put quantize raise read receive recommend recover reduce refer"
    " refuse reject rely remember remove reorder repair repeat replace report represent require resolve restore"
    " return reveal reward run sample save say scale search select send separate serve shift show shrink simplify"
    " skip solve sort specify speed split spread stand start rank state stop store suffer suffice suggest support"
    " survive take teach tell tend test track train transform treat trigger turn uncover update use validate vanish"
    " vary verify waste weigh work write yield fine-tune deduplicate accept act adapt adjust align analyse answer"
    " append ask attend benefit block call catch check cite claim clean close concatenate connect consider constrain"
    " consume control deliver demonstrate deploy differ dominate drive enable enforce evict exclude execute fall"
    " feed flag flatten form freeze fuse guide implement imply inherit inject invert involve label let link load"
    " lock look manage meet mislead model name note offer open overlap override parse partition pass permit pick"
    " point pool prepare print quote rate reach recognise reconstruct record refresh regard reject relate release"
    " remain render reproduce request rerank resemble respond retain retrieve retry reuse rewrite round satisfy"
    " schedule see set share shuffle spend stay step subtract sum switch tag throw trace trade translate truncate"
    " try tune understand visit wait walk warn wrap break tear fix"
)
AUXILIARIES = word_set("is are was were can cannot could must should will would may might does do did has have had")
SINGULAR_AUXILIARIES = word_set("is was has does")
PLURAL_AUXILIARIES = word_set("are were have do")
_PAST = {
    "found": "find",
    "built": "build",
    "gave": "give",
    "took": "take",
    "wrote": "write",
    "chose": "choose",
    "began": "begin",
}
_IRREGULAR_PARTICIPLES = word_set(
    "built chosen cut drawn found given held hidden kept known laid learnt left lost made paid put read run said"
    " seen sent set shown sorted split spread stored broken torn begun taken taught thrown told understood written"
    " bound driven bought"
)
# What may follow a verb. A noun may follow an adjective or another noun as well, so "document scores need" needs this.
AFTER_VERB = word_set(
    "a an the all any each every both no its their only about that whether how what which more less fewer from to"
    " into by on in with for as at of one two three four five six seven eight nine ten at most"
)
# Verb forms that are nouns as often: these need a word of AFTER_VERB behind them.
ALSO_NOUNS = word_set(
    "causes changes costs counts covers cuts delimits drops ends estimates extracts falls finds fits gains guesses"
    " helps holds increases inserts leads learns lists limits loses maps masks matches measures mixes moves needs"
    " packs pays places processes queries ranks reads records repairs repeats reports results returns rewards runs"
    " samples saves scales scores searches shifts shows shrinks sorts speeds splits spreads starts states stops"
    " stores supports tests tracks trains transforms treats triggers turns updates uses values wastes weighs works"
    " writes answers benefits blocks calls checks claims controls drives feeds flags forms labels links loads locks"
    " looks models names notes offers overlaps partitions passes picks points pools prints quotes rates releases"
    " requests rounds schedules sees sets shares steps sums switches tags traces trades tunes visits walks breaks"
    " bounds fixes"
)
# Base forms that may begin a subject: `Test questions must …`.
NOUNS_TOO = word_set(
    "test search sample rank cost split mask measure overlap process load model note label control form block"
    " record request release schedule trace fine-tune batch query"
)
# Verbs after which the sentence says what: "What does a flat index store?"
OBJECT_VERBS = word_set(
    "achieve add assign assume avoid build carry combine compare compress compute connect contain contribute convert"
    " cost count cover create decide deduplicate define delete demand demonstrate derive determine distinguish divide"
    " drop embed encode ensure estimate evict exploit express extract fetch find fine-tune forbid generate guarantee"
    " guess hold ignore imply improve include increase insert introduce lack learn lose lower maintain map mask match"
    " maximise mean measure merge minimise miss mix move need normalise optimise outperform pack parse penalise"
    " predict preserve prevent produce propose protect prove provide quantize rank recommend reduce reject remember"
    " remove reorder repair replace report represent require restore retrieve return reveal reward sample save say"
    " scale search select separate show shrink skip solve sort specify split store teach test track train transform"
    " translate validate verify waste weigh write yield"
)
# What something is for, not what was seen of it: "What does X do?" is no question for "X makes mistakes".
DEEDS = word_set(
    "adapt adjust allow answer append apply approximate assign break bring build change check choose clip collect"
    " combine compile compress compute concatenate convert copy correct cut decode delete detect discard divide drop"
    " embed enable encode enforce evict examine execute expand extract feed fetch fill flatten freeze fuse guide help"
    " infer insert interpolate invert keep let link load manage map mask match maximise merge minimise mix move"
    " multiply normalise operate optimise overwrite pack partition pass pick place pool predict prevent process prune"
    " push put quantize rank read reconstruct refresh reject remove render reorder repair replace rerank retrieve"
    " rewrite round run sample save scale search select send separate shrink shuffle simplify skip solve sort speed"
    " spend split start stop store subtract sum switch tag trace track train transform translate treat truncate turn"
    " update verify weigh wrap write"
)
# What stands alone needs none of these: they point to another sentence.
NEVER_IN_SUBJECT = word_set(
    "this these those that it they he she we you i our its their his her my your such other others another same"
    " latter former both above below following here there one ones some many most few first second third last next"
    " previous which who whom whose where what how why when if because since although while whereas whether than so"
    " but or nor not no none nothing everything something anything section table figure listing equation note paper"
    " papers chapter author authors result results example examples rest remainder case cases difference answer idea"
    " question point problem difficulty step reason effect choice number consequence aim price task part kind way"
    " cheap cheaper simpler better later earlier original remaining default reader each every two three four five"
    " panel panels setup experiment experiments experimental procedure observed obtained different current final"
    " additional recent resulting proposed initial corresponding existing various certain version versions study"
    " studies evidence deep plain important very popular aforementioned preceding predicted"
)
NEVER_FIRST = word_set(
    "in with for at by on from to after before during as once until under over between within without like unlike"
    " instead even then thus hence however therefore also here yet and among against across through beside besides"
    " into out given let consider note see suppose assume often usually sometimes each every all either neither only"
    " just about two three four five six seven eight nine ten several too again finally further moreover still"
    " indeed compared using used based nearly almost more less much"
)
NEVER_FRONTED = word_set("this these those that it they its their them such other another same here one both he she")
ADVERBS = word_set(
    "therefore thus also then often usually always never only still hence typically normally again itself necessarily"
)
NUMBERS = word_set("two three four five six seven eight nine ten")
PREPOSITIONS = word_set("of in on for with from to by at between over under into without per as")
NEVER_OBJECT = word_set("is are was were and or than as but which who it be been being then also not")


def base_form(verb: str) -> str:
    """ranks -> rank, carries -> carry, matches -> match, compared -> compare."""
    if verb in VERBS:
        return verb
    if verb in _PAST:
        return _PAST[verb]
    for ending, replacement in (("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", ""), ("d", "")):
        if verb.endswith(ending) and verb.removesuffix(ending) + replacement in VERBS:
            return verb.removesuffix(ending) + replacement
    return verb


def is_participle(word: str) -> bool:
    """Whether a word after `is` or `are` says what is done to the subject."""
    if word in _IRREGULAR_PARTICIPLES:
        return True
    stems = (word.removesuffix("ed"), word.removesuffix("d"), word.removesuffix("ied") + "y")
    return word.endswith("ed") and (any(stem in VERBS for stem in stems) or word[:-3] in VERBS)
