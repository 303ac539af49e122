r"""The kinds of quantities that a question asks for, as marks on its gold answer, and the units an answer may have."""

from grpo_jax.rewards.mathematics.units import ANGLES, PERCENT, UNITS_BY_KIND, Kind, Unit, in_lengths

COUNT, LENGTH, AREA, VOLUME, ANGLE = "\\count", "\\length", "\\area", "\\volume", "\\angular"
PERCENTAGE, SHARE, RATIO = "\\percentage", "\\share", "\\proportion"  # 5 stands for 5 %; 0.05 does; 1/4 for 1:4
NUMBER, PLAIN = "\\number", "\\plain"  # of anything, and of anything but degrees
WHOLE = "\\whole"  # an expression whose letters are whole numbers
POSITIVE = "\\positive"  # an expression whose letters are positive: lengths, masses, or said to be so

KINDS: dict[str, frozenset[Kind]] = {
    COUNT: frozenset(((),)),
    LENGTH: frozenset(((("m", 1),),)),
    AREA: frozenset(((("m", 2),),)),
    VOLUME: frozenset(((("m", 3),),)),
    ANGLE: ANGLES,
    PERCENTAGE: frozenset((PERCENT.kind,)),
    SHARE: frozenset((PERCENT.kind,)),
    RATIO: frozenset((PERCENT.kind,)),
}
MARKS = frozenset((*KINDS, NUMBER, PLAIN, WHOLE, POSITIVE))
DEGREES = frozenset(("degree", "radian", "celsius", "fahrenheit"))


def allows(mark: str, unit: Unit) -> bool:
    """Return whether a quantity with this mark can have a unit. Counted nouns (apples) may be one, except of angles."""
    if mark == ANGLE:
        return not unit.kind or unit.kind in ANGLES
    kind = in_lengths(unit.kind)
    bases = UNITS_BY_KIND.keys() & {name for name, _ in kind}
    if mark in KINDS:
        return not bases or kind in KINDS[mark]
    return mark != PLAIN or bases.isdisjoint(DEGREES)
