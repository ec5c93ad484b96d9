"""What kind of thing a question asks for (a number, a time, a name, a reason) and which sentences hold one."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|thousand|"
    r"million|billion|dozen|half|third|quarter|once|twice|none|no)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(?:1\d{3}|20\d\d|\d{1,2}(?:st|nd|rd|th)|\d{1,2}:\d\d|centur(?:y|ies)|(?:second|minute|hour|day|week|month|year|"
    r"decade)s?|daily|weekly|monthly|yearly|midnight|noon|january|february|march|april|may|june|july|august|september|"
    r"october|november|december|(?:mon|tues|wednes|thurs|fri|satur|sun)day|a\.?m\b|p\.?m\b)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[^\W\d_,;:)] )[A-Z][^\W\d_]+")
_REASON = re.compile(
    r"\b(?:because|since|due to|owing to|so that|in order|therefore|thus|hence|reasons?|"
    r"caus(?:e|ed|es)|result|led to|to avoid|to prevent|otherwise)\b",
    re.IGNORECASE,
)

_ASKS_TIME = re.compile(
    r"\bhow (?:long|often)\b|\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|far|old|tall|big|large|fast|high|deep|wide|heavy)\b|\bpercent|\bwhat (?:number|percentage|"
    r"proportion|share|price|cost|fee|age|amount|size|fraction|limit|temperature|speed|rate)\b|"
    r"\b(?:number|total|sum|toll|maximum|minimum|limit|cap|budget) (?:of|for|on)\b",
    re.IGNORECASE,
)
_ASKS_NAME = re.compile(
    r"\bwho(?:m|se)?\b|\bwhere\b|\b(?:what|which) (?:city|country|place|person|company)\b", re.IGNORECASE
)
_ASKS_REASON = re.compile(r"\bwhy\b|\bfor what reason\b", re.IGNORECASE)

_KINDS = ((_ASKS_TIME, _TIME), (_ASKS_NUMBER, _NUMBER), (_ASKS_NAME, _NAME), (_ASKS_REASON, _REASON))


def fits(question: str, sentences: Sequence[str]) -> list[float]:
    """For each sentence 1 when it holds the kind of thing the question asks for, else 0."""
    for asked, held in _KINDS:
        if asked.search(question):
            return [float(bool(held.search(sentence))) for sentence in sentences]
    return [0.0] * len(sentences)
