"""How a question means its gold answer: order, point or interval, one number or two."""

import pytest

from grpo_jax.rewards.mathematics.asked import interpreted
from grpo_jax.rewards.mathematics.judging import outcome_of


@pytest.mark.parametrize(
    ("question", "gold", "marked"),
    [
        ("Find all roots of the polynomial.", "1, 2", "1, 2"),
        ("List the roots in increasing order.", "1, 2", r"\ordered 1, 2"),
        ("Arrange them in increasing order.", r"\frac{1}{3}, \frac12", r"\ordered \frac{1}{3}, \frac12"),
        ("Rank them, largest first.", "f(2); f(1)", r"\ordered f(2); f(1)"),
        ("Find both, in any order.", r"\frac{1}{3}, \frac12", r"\frac{1}{3}, \frac12"),
        ("List the sets in increasing order.", r"\{1, 2\}", r"\{1, 2\}"),
        ("How many are there, in ascending order?", "1{,}234", "1{,}234"),
        ("Solve the system, where $a<b$.", "(1, 2)", "(1, 2)"),
        ("Solve the system of inequalities.", "(1, 2)", r"\interval (1, 2)"),
        ("What are the first three terms?", "2, 4, 8", r"\ordered 2, 4, 8"),
        ("Find all ordered pairs $(x, y)$.", "(1, 2), (3, 4)", "(1, 2), (3, 4)"),
        ("For which values of $x$ is it positive?", "(1, 2)", r"\asked x = \interval (1, 2)"),
        ("At which point do the lines intersect, and for which $x$?", "(1, 2)", "(1, 2)"),
        ("", "(1, 2)", "(1, 2)"),
        ("Find both solutions, separated by commas.", "100,200", "100, 200"),
        ("How many are there?", "100,200", r"\count 100,200"),
        ("", "100,200", "100, 200"),
        ("", "200,100", "200,100"),
        ("", "12,500", "12,500"),
        ("Arrange them from tallest to shortest.", "D, A", r"\ordered D, A"),
        ("What is its length, in metres?", "5", r"5 \text{ metres}"),
        ("It takes 2 hours. How many seconds are that?", "$7,200$", r"7,200 \text{ seconds}"),
        (
            "What is the area in square centimetres of the face?",
            r"\frac{1}{2}",
            r"\asked \text{area} = \frac{1}{2} \text{ square centimetres}",
        ),
        ("What is the speed in m/s?", r"2\sqrt{3}", r"\asked \text{speed} = 2\sqrt{3} \text{ m/s}"),
        (
            "What is the speed in miles per hour when it lands?",
            "4.5",
            r"\asked \text{speed} = 4.5 \text{ miles per hour}",
        ),
        ("How many dollars does she have left?", "8", r"8 \text{ dollars}"),
        ("Who comes in second place, in a day?", "5", r"\plain 5"),
        ("How many apples are in the basket?", "5", r"\count 5"),
        ("What is the angle in degrees?", "60", r"\angular 60"),
        ("A rope is 5 m long. What is its angle to the floor?", "60", r"\angular 60"),
        ("A triangle has an angle of 60 degrees. What is it worth?", "5", r"\number 5"),
        ("What is the area of the face?", "60", r"\asked \text{area} = \area 60"),
        ("What percentage is that?", "60", r"\percentage 60"),
        ("What is the probability of that?", "0.5", r"\asked \text{probability} = \share 0.5"),
        ("What is that in hours, and what in minutes?", "5", r"\plain 5"),
        ("How old is she?", "5", r"5 \text{ years}"),
        ("Find $f(3)$.", "7", r"\asked f(3) = \plain 7"),
        ("If $x+y=10$, find $x^2+y^2$.", "58", r"\asked x^2+y^2 = \plain 58"),
        ("Solve $3x+5=20$.", "5", r"\asked x = \plain 5"),
        ("Find $x$ and $y$.", "1, 2", r"\named x = 1, y = 2"),
        ("What are the mean and the median of these?", "3, 5", r"\named \text{mean} = 3, \text{median} = 5"),
        ("Find the solutions $(x, y)$ and $z$.", "1, 2", "1, 2"),
        ("Find the remainder of $3^5$ divided by 7.", "5", r"\asked \text{remainder} = \modulo {7} \plain 5"),
        ("Ben is 8. How old is Anna?", "16", r"\asked \# \text{Ben} = 16 \text{ years}"),
        ("What is the range of $\\sqrt{x}$?", "[0,\\infty)", r"\asked \# x = [0,\infty)"),
        ("What is the $y$-intercept?", "5", r"\asked y \text{intercept} = \plain 5"),
        ("What is the sum of the roots of $x^2=9$?", "0", r"\asked \text{sum} \# x = \plain 0"),
        ("What is the cosine of angle $A$?", "0.6", r"\asked \cos A = \number 0.6"),
        ("Find $x$.", "x = 5", "x = 5"),
        ("Solve the system for $(x, y)$.", "(1, 2)", "(x,y) = (1, 2)"),
        ("Which? (A) 34 (B) 51 (C) 17", "51", r"\option B \plain 51"),
        ("Which? (A) 34 (B) 51 (C) 17", "C", r"\option C \plain 17"),
        ("Which? A. Mars B. Jupiter C. None of them is.", r"\text{(A)}", r"\option A \text{Mars}"),
        ("Which? (A) 34 (B) 51 (C) 51", "51", r"\plain 51"),
        ("Find (a) the length, (b) the width, in this order.", "3, 4", r"\named \text{length} = 3, \text{width} = 4"),
        ("How many metres are left?", r"5 \text{ km}", r"5 \text{ km}"),
        ("How many metres are left?", "x + 5", "x + 5"),
    ],
)
def test_the_question_marks_its_gold_answer(question, gold, marked):
    assert interpreted(question, gold) == marked


def test_a_mark_changes_no_answer_that_it_marks_again():
    for gold in ("1, 2", "(1, 2)", "100,200"):
        marked = interpreted("For which values, in increasing order, separated by commas?", gold)
        assert interpreted("", marked) == marked


@pytest.mark.parametrize(
    ("question", "gold", "right", "wrong"),
    [
        ("How long is it, in metres?", "5", (r"500\,\mathrm{cm}", "5 m", "5"), (r"5\,\mathrm{km}", r"5 \text{ s}")),
        ("What is the temperature in kelvin?", "310", ("310 K", "310"), (r"310\,^\circ\mathrm{C}",)),
        (
            "What is the resistance in ohms?",
            "47",
            (r"47\ \Omega", r"0.047\,\mathrm{k}\Omega"),
            (r"47\ \mathrm{k}\Omega",),
        ),
        ("What is the change in dollars?", "8", (r"\$8", r"8.00", r"800 \text{ cents}"), (r"8 \text{ cents}",)),
        ("What is 100 percent of 2?", "2", ("2",), (r"2\%",)),
        ("What percent of 8 is 2?", "25", (r"25\%", "25"), (r"2.5\%",)),
        ("How many corners are there?", "5", ("5 corners",), (r"5\%", r"5 \text{ percent}")),
        ("What is the angle in degrees?", "60", (r"60^\circ", "60"), ("61",)),
        (
            "When does it end?",
            r"3\!:\!45 \text{ PM}",
            ("3:45 pm", r"3{:}45\text{ p.m.}"),
            ("3:45 AM", "6:90 PM", "3:45 a.m."),
        ),
        ("How many seconds does it take?", "90", (r"1.5 \text{ minutes}", "90"), (r"90\text{ minutes}",)),
    ],
)
def test_an_answer_is_in_the_unit_that_is_asked_for_or_converted(question, gold, right, wrong):
    marked = interpreted(question, gold)
    assert [outcome_of(marked, answer) for answer in right] == ["right"] * len(right)
    assert [outcome_of(marked, answer) for answer in wrong] == ["wrong"] * len(wrong)


def test_no_answer_of_a_vote_holds_up_its_reading():
    """Every group of digits could be read in three ways, and all ways of all groups be tried."""
    hostile = "111,111 " * 40 + "x"
    assert interpreted("How many are there?", hostile) == hostile
