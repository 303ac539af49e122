"""Times of the day and dates, in any notation."""

import re
from fractions import Fraction

from grpo_jax.rewards.mathematics.answer import RATIO, Answer, Date, Items, Reader, Time
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.formula import Formula

_MONTHS = "january february march april may june july august september october november december"
MONTHS = {spelt: number for number, name in enumerate(_MONTHS.split(), 1) for spelt in (name, name[:3])}
HALVES = {"AM": 0, "PM": 12}
HALF_DAY = 12 * 3600
NAMED = {("noon",): Time(HALF_DAY), ("midnight",): Time(0)}
SIGNS = frozenset(
    (
        *HALVES,
        "-",
        "noon",
        "midnight",
        "Noon",
        "Midnight",
        *MONTHS,
        *map(str.capitalize, MONTHS),
        *map(str.upper, MONTHS),
    )
)
OF_DAY = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))?([AP]M)")
_MONTH, _DAY, _YEAR = (
    rf"(?P<month>{'|'.join(MONTHS)})(?: \.)?",
    r"(?P<day>\d{1,2})(?: ?(?:st|nd|rd|th|s t|n d|r d|t h))?",
    r"(?P<year>\d{4})",
)
DATES = tuple(
    map(
        re.compile,
        (
            rf"{_MONTH} (?:the )?{_DAY}(?: ,)?(?: {_YEAR})?",
            rf"(?:the )?{_DAY}(?: of)? {_MONTH}(?: ,)?(?: {_YEAR})?",
            rf"{_MONTH}(?: ,)? {_YEAR}(?P<day>)",
            rf"{_YEAR} - (?P<month>\d\d) - (?P<day>\d\d)",
        ),
    )
)
MAX_TOKENS = 9  # the 4 t h of March , 2021


def moment(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a time with AM or PM, or a date: 3:45 PM, noon, March 4, 2021, 2021-03-04."""
    texts = texts_of(tokens)
    if len(texts) > MAX_TOKENS:
        return None
    of_day = OF_DAY.fullmatch("".join(texts))
    if of_day is not None:
        hour, minute, second = (int(part or 0) for part in of_day.groups()[:3])
        if not 1 <= hour <= 12 or minute > 59 or second > 59:
            return None
        return Time((hour % 12 + HALVES[of_day[4]]) * 3600 + minute * 60 + second)
    said = " ".join(texts).lower()
    for date in DATES:
        found = date.fullmatch(said)
        if found is not None:
            month = MONTHS.get(found["month"]) or int(found["month"])
            day, year = (int(found[part]) if found[part] else None for part in ("day", "year"))
            return Date(year, month, day) if month <= 12 and (day is None or 1 <= day <= 31) else None
    return NAMED.get((said,))


def may_be(ratio: Items, time: Time) -> bool:
    """Return whether a time without AM or PM, which is read as a ratio, may be this one: 15:45, or 3:45."""
    numbers = [item for item in ratio.items if isinstance(item, Formula) and item.unit is None]
    parts = [number.value for number in numbers if number.value is not None]
    if ratio.opening != RATIO or len(parts) != len(ratio.items) or not 2 <= len(parts) <= 3:
        return False
    half_day = 0 if numbers[0].tokens[0].startswith("0") else HALF_DAY  # 03:45 is in the morning
    hours, minutes, seconds = [*parts, Fraction(0)][:3]
    total = hours * 3600 + minutes * 60 + seconds
    return hours <= 24 and max(minutes, seconds) < 60 and time.seconds in (total, total + half_day)


def is_written_as_time(ratio: Items) -> bool:
    """Return whether a ratio is written like 12:30."""
    hours, *others = [item.tokens if isinstance(item, Formula) else () for item in ratio.items]
    two_digits = all(
        len(part) == 1 and part[0].isdigit() and len(part[0]) == 2 and int(part[0]) < 60 for part in others
    )
    return two_digits and len(hours) == 1 and hours[0].isdigit() and int(hours[0][:9]) <= 24
