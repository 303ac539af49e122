"""Parts of sentences for users."""

import difflib
import math
from collections.abc import Sequence


def counted(number: int, noun: str, form: str = "") -> str:
    """Return a number and its noun, as in "1 gold answer" or "2 gold answers".

    Args:
      noun: in the singular.
      form: how the number is written, as in `format`: "," separates thousands.
    """
    return f"{number:{form}} {agreeing(number, noun, f'{noun}es' if noun.endswith('s') else f'{noun}s')}"


def agreeing(number: int, one: str, several: str) -> str:
    """Return the form of a word, such as "is" or "are", that agrees with a number."""
    return one if number == 1 else several


def known(value: float, form: str = ".3f") -> str:
    """Return a number as text, or a dash if it is not known (NaN).

    Args:
      form: how the number is written, as in `format`.
    """
    return "-" if math.isnan(value) else f"{value:{form}}"


def one_line(said: object) -> str:
    """Return a text, or the message of a library's error, in one line, to be quoted in a sentence."""
    return " ".join(str(said).split())


def described(error: BaseException) -> str:
    """Return the type and the message of a library's error in one line, to be quoted in a sentence."""
    return one_line(f"{type(error).__name__}: {error}").removesuffix(":")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one, or all of them."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"known are {', '.join(known)}."


def nearest(word: str, known: Sequence[str], likeness: float = 0.6) -> str:
    """Return the known name that an unknown one may mean; "" if none is as like it, on a scale from 0 to 1.

    Capital letters do not matter.
    """
    lower = {name.lower(): name for name in known}
    return next((lower[name] for name in difflib.get_close_matches(word.lower(), lower, n=1, cutoff=likeness)), "")
