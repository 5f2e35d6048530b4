"""What a text asks for beyond the fields of a brief: dates, licences, places of data, networks, kinds of machines, features, availability.

No plan reads them, so they are said to be unread: a wish that is dropped in silence is taken for granted.
"""

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text

_DAY = r"(?:mon|tues?|wednes|thurs?|fri|satur|sun)day|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|lundi|mardi|mercredi|jeudi|vendredi|lunes|martes|miércoles|jueves|viernes"
_MONTH = r"jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?"
_PERIOD = r"(?:the |this |next |der |des |la |le |el )?(?:week(?:end)?|month|quarter|year|day|sprint|weeks|months|days|years|jahres|quartals|mes)"
_DATE = (
    rf"(?:next |this |coming |nächsten |kommenden )?(?:{_DAY})|tomorrow|tonight|morgen|demain|mañana|christmas|easter|new year(?:'s)?|weihnachten|"
    rf"(?:the )?end of {_PERIOD}|ende {_PERIOD}|fin de {_PERIOD}|(?:this|next|nächste) (?:week(?:end)?|month|quarter|year|woche)|eow|eom|eod|eoy|cob|"
    rf"(?:(?:{_MONTH})\.? \d{{1,2}}(?:st|nd|rd|th)?|\d{{1,2}}(?:st|nd|rd|th|\.)?(?: of)? (?:{_MONTH})|(?:early|mid|late|end of) (?:{_MONTH}))(?:,? 20\d\d)?|"
    r"20\d\d-\d\d-\d\d|\d{1,2}\.\d{1,2}\.(?:20)?\d{0,2}|q[1-4](?: 20\d\d)?"
)
_SPOKEN = Lazy(
    rf"(?<![\w.-])(?:(?P<dated>(?:by|before|until|till|from|on|due|over|bis|vor|ab|avant|antes de|à partir de|no later than)(?: zum| am| the| el| le)?\s+(?:{_DATE}|(?:the )?weekend))|"
    rf"(?P<due>(?:deadline|due|ready|live|launch|go-live)\s*(?:date)?\s*(?:is|:|=|by|on)?\s+(?:{_DATE}))|(?:a|one|this|the) weekend|overnight|over night)(?![\w-])"
)
_OTHER = Lazy(
    r"(?<![\w-])(?:(?:apache|mit|permissive|commercial|open)[\s-]*(?:2\.0)?[\s-]*(?:licen[cs]ed?|source)(?: licen[cs]e)?(?: only)?|commercial(?:ly)? (?:use|usable)|"
    r"(?:air[\s-]?gapped|offline only|no internet)|gdpr|hipaa|soc ?2|iso ?27001|data (?:must|may|can|should)(?: not|not|n't)? (?:leave|stay)[^,.;]{0,25}|(?:must|has to|have to|needs to) stay (?:in|within|on)[^,.;]{0,25}|(?:eu|europe|germany|us|uk)[\s-](?:only|region|hosted)|in (?:europe|the eu)|"
    r"(?:no|without|only|over|via) (?:nvlink|infiniband|ethernet|roce|efa)|(?:spot|pre-?emptible)(?: (?:instances?|only|machines|gpus))?|"
    r"(?:function|tool)[\s-]calling|json mode|structured outputs?|multi-?lingual|multi-?tenant|highly available|high availability|zero downtime|fail-?over|auto-?scal\w+)(?![\w-])",
    "licen|source|commercial|gapped|offline|internet|gdpr|hipaa|soc|iso|data |stay|only|region|hosted|europe|the eu|nvlink|infiniband|ethernet|roce|efa|spot|emptible|calling|json mode|structured|lingual|tenant|availab|downtime|failover|fail-over|scal",
)
_UP = r"(?:uptime|availability|available|sla)"
_NUMBERED = Lazy(
    rf"(?<![\w.])\d[\d.,]*\s*(?:%|percent)\s*{_UP}\b|\b{_UP}\s*(?:of|is|:|=|>=?|at least|must be|should be)*\s*\d{{2}}(?:\.\d+)?\s*(?:%|percent\b)"
    r"|(?<![\w.])(?:two|three|four|five|six|[2-6])(?: and a half|\.5)?[\s-]*(?:x\s*)?(?:9s|nines)\b(?!\s+(?:of|in)\s+(?:the |all |our )?(?:requests|calls|queries|answers|cases))(?:\s+(?:of\s+)?(?:uptime|availability|sla))?",
    "uptime|availab|sla|9s|nines",
)
"""How much of the time it must be there: "99.9 % uptime", "availability of 99.95 %", "three nines"."""


def constraints(text: Text) -> list[tuple[int, str]]:
    """Start in the matched text, and the person's words, of every wish that has no field."""
    said: list[Span] = []
    for pattern in (_SPOKEN, _NUMBERED, _OTHER):
        for match in text.search(pattern):
            span = Span(*match.span())
            if not any(span.overlaps(other) for other in said):
                said.append(span)
    return [(span.start, text.words(span)) for span in said]
