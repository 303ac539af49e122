"""Rewards of a service: each attempt gets its own reward, or none if the service fails."""

import pytest

from grpo_jax.json_requests import Unanswered, repeated
from grpo_jax.rewards import UNSCORED, Service, extraction
from grpo_jax.rewards.service import Served
from tests.rewards.helpers import BACKTRACKING, ENDLESS, attempt
from tests.rewards.scripted_service import Scripted

ATTEMPTS = [attempt("0", str(number)) for number in range(5)]


def equal(request):
    """The service's own opinion: the completion as a number."""
    return {"rewards": [float(each["completion"]) for each in request["attempts"]]}


def judged(answer, attempts=ATTEMPTS, pattern=r"(\d)", **settings):
    served = Scripted(answer)
    with served.serving() as address:
        service = Service(f"http://{address}/a?b=c", **{"batch": 2, "retries": 2, "wait": 0.0, **settings})
        reward = Served("mine:SERVICE", service, pattern)
        return reward.judge(attempts), dict(reward.unscored), served


def test_each_attempt_gets_its_own_reward():
    verdicts, unscored, served = judged(equal, headers={"Authorization": "Bearer x"})
    assert [verdict.reward for verdict in verdicts] == [0, 1, 2, 3, 4]
    assert [verdict.right for verdict in verdicts] == [False, True, True, True, True]
    assert [verdict.answer for verdict in verdicts] == ["0", "1", "2", "3", "4"]
    assert unscored == {}
    assert sorted(len(request["attempts"]) for request in served.requests) == [1, 2, 2]
    assert {headers["Authorization"] for headers in served.headers} == {"Bearer x"}
    asked = {each["completion"]: each for request in served.requests for each in request["attempts"]}
    assert asked["3"] == {"prompt": "2+3=", "gold": "0", "completion": "3", "stopped": True, "tokens": 10}


def test_what_is_right_is_the_services_to_say():
    """The scores of a reward model say nothing about it, or begin to be right elsewhere than at 1."""
    for least, right in ((None, [None] * 5), (2.5, [False, False, False, True, True])):
        verdicts, _, _ = judged(equal, right_from=least)
        assert [verdict.right for verdict in verdicts] == right


@pytest.mark.parametrize("fault", [503, 429, None])
def test_a_request_without_an_answer_is_repeated(fault):
    asked = set()

    def second_time(request):
        new = repr(request) not in asked
        asked.add(repr(request))
        return fault if new else equal(request)

    verdicts, unscored, served = judged(second_time)
    assert [verdict.reward for verdict in verdicts] == [0, 1, 2, 3, 4]
    assert (unscored, len(served.requests)) == ({}, 6)


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (lambda request: 503, "no_answer", 9),
        (lambda request: 403, "refused", 3),
        (lambda request: 301, "refused", 3),
        (lambda request: b"no JSON", "unusable_answer", 3),
        (lambda request: {"rewards": [1.0]}, "unusable_answer", 3),
        (lambda request: {"scores": []}, "unusable_answer", 3),
        (lambda request: {"rewards": ["good"] * 2}, "unusable_answer", 3),
    ],
)
def test_what_the_service_does_not_judge_is_unscored_and_not_wrong(answer, reason, requests, caplog):
    verdicts, unscored, served = judged(answer, ATTEMPTS[:4] + ATTEMPTS[:2])
    assert verdicts == [UNSCORED] * 6
    assert unscored == {reason: 6}
    assert len(served.requests) == requests
    assert len(caplog.records) == 1
    assert "mine:SERVICE leaves completions unscored" in caplog.text


def test_a_request_may_be_repeated_more_than_a_thousand_times():
    def refused():
        raise ConnectionRefusedError

    pauses = []
    with pytest.raises(Unanswered):
        repeated(refused, 1100, 1.0, pauses.append)
    assert (len(pauses), pauses[:7], pauses[-1]) == (1100, [1, 2, 4, 8, 16, 32, 60], 60)


def test_a_failed_request_leaves_the_others_alone():
    verdicts, unscored, _ = judged(lambda r: 403 if r["attempts"][0]["completion"] == "2" else equal(r))
    assert [verdict.scored for verdict in verdicts] == [True, True, False, False, True]
    assert unscored == {"refused": 2}


def test_no_verdict_and_a_reward_that_is_not_finite_are_unscored():
    verdicts, unscored, _ = judged(lambda r: b'{"rewards": [null, NaN]}', ATTEMPTS[:2])
    assert verdicts == [UNSCORED] * 2
    assert unscored == {"no_verdict": 1, "not_finite": 1}


def test_a_completion_whose_answer_takes_too_long_to_find_is_unscored(monkeypatch):
    monkeypatch.setattr(extraction, "SEARCH_SECONDS", 0.1)
    attempts = [attempt("2", text) for text in ("2", ENDLESS)]
    verdicts, unscored, _ = judged(lambda r: {"rewards": [1.0] * len(r["attempts"])}, attempts, pattern=BACKTRACKING)
    assert [verdict.answer for verdict in verdicts] == ["2", None]
    assert verdicts[1] == UNSCORED
    assert unscored == {"slow_pattern": 1}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "127.0.0.1:80"}, "must begin with http"),
        ({"url": "file:///etc"}, "must begin with http"),
        ({"url": "http://127.0.0.1:many"}, "[Pp]ort"),
        ({"batch": 0}, "batch=0: must be at least 1"),
        ({"seconds": 0.0}, "seconds=0.0: must be above 0"),
        ({"seconds": float("inf")}, "seconds=inf: must be above 0 and at most 1e\\+06"),
        ({"wait": -1.0}, "wait=-1.0: must be at least 0"),
    ],
)
def test_what_cannot_be_a_service(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Service(**{"url": "http://127.0.0.1", **settings})
