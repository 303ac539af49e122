"""The page of runs that go on: its server, its data, and what a browser makes of hostile completions."""

import base64
import hashlib
import html
import http.client
import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from grpo_jax.commands import watch as command
from grpo_jax.config import ConfigError
from grpo_jax.reporting import page as page_module
from grpo_jax.reporting.curves import Curves
from grpo_jax.reporting.page import PageData, ShownRun, document
from grpo_jax.reporting.panels import LOGARITHMIC
from grpo_jax.reporting.sample_groups import sample_groups
from grpo_jax.reporting.watch import make_server, news
from grpo_jax.rewards import Verdict
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.runs.lines import RunMetrics
from tests.helpers import assert_one_sentence, evaluation_line, train_line

HOSTILE = '</script><img src=x onerror="document.title=1"><!--<script>'


def rollout(text, advantage, **changes):
    """A completion of one token for each character and a stop token."""
    values = {
        "stopped": True,
        "length": len(text) + 1,
        "tokens": [1] * (len(text) + 1),
        "token_logprobs": [-0.5] * (len(text) + 1),
    }
    return TrainingCompletion(
        text,
        verdict=Verdict(float(advantage > 0), text, right=advantage > 0),
        advantage=advantage,
        logprob=-1.0,
        **(values | changes),
    )


def group(step, *completions):
    return TrainingGroup(1, HOSTILE, "2", completions, step, True, None, step - 1)


@pytest.fixture
def run(tmp_path):
    """A run that goes on: three steps, an evaluation and three groups."""
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    config = {"train": {"steps": 10}, "task": {"name": "modular_expressions"}, "model": {"checkpoint": ""}}
    config |= {"evaluation": {"every": 3}}
    directory.write_json("config.json", config)
    for step in (1, 2, 3):
        directory.append_metrics(train_line(step))
        directory.append_rollouts(step, [group(step, rollout(HOSTILE, 1.0), rollout("3", -1.0))])
    directory.append_metrics(evaluation_line(3, 0.5))
    yield directory
    directory.close()


@contextmanager
def asking(*runs):
    """Serve runs, and yield a function that asks for a path and returns the status and the content."""
    server = make_server(runs, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def ask(path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer.status, content

    try:
        yield ask
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_page_asks_for_what_is_new(run, tmp_path):
    with asking(run.path, tmp_path / "later") as ask:
        status, page = ask("/")
        assert status == 200
        assert '"asks":true' in page
        first = json.loads(ask("/lines?run=0&after=")[1])
        assert first["state"].items() >= {"condition": "running", "said": "running", "step": 3, "steps": 10}.items()
        assert first["state"]["seconds_left"] == 7
        assert first["curves"]["step"] == [1, 2, 3]
        assert first["curves"]["evaluated"] == {"pass@1": {"validation": [[3, 0.5, 0.4, 0.6]]}}
        run.append_metrics(train_line(4))
        second = json.loads(ask(f"/lines?run=0&after={first['after']}")[1])
        assert (second["again"], second["curves"]["step"]) == (False, [4])
        assert json.loads(ask(f"/lines?run=0&after={second['after']}")[1])["curves"] is None
        assert [one["step"] for one in json.loads(ask("/groups?run=0")[1])] == [3, 2, 1]
        later = json.loads(ask("/lines?run=1&after=")[1])
        assert (later["state"]["said"], later["curves"]) == ("not begun", None)
        assert ask("/groups?run=1") == (200, "[]")


@pytest.mark.parametrize(
    "path",
    [
        "/../etc/passwd",
        "/config.json",
        "/run/metrics.jsonl",
        "//etc/passwd",
        "/%2e%2e/config.json",
        "/lines/../x",
        "/x",
    ],
)
def test_no_path_leads_to_a_file(run, path):
    with asking(run.path) as ask:
        assert ask(path) == (404, "no such page\n")


@pytest.mark.parametrize("number", ["1", "-1", "../run", "0/../0", ""])
def test_only_the_named_runs_are_served(run, number):
    with asking(run.path) as ask:
        assert ask(f"/lines?run={number}") == (404, "no such run\n")
        assert ask(f"/groups?run={number}") == (404, "no such run\n")


def test_another_sites_name_is_refused(run):
    """A site whose name leads to this machine could otherwise read completions in the browser of a visitor."""
    with asking(run.path) as ask:
        assert ask("/lines?run=0", Host="evil.example:6010")[0] == 403
        assert ask("/lines?run=0", Host="localhost:6010")[0] == 200


def test_a_torn_line_is_waited_for(run):
    path = run.path / "metrics.jsonl"
    token = news(run.path, "").after
    line = json.dumps(train_line(4).to_json() | {"loss": None}) + "\n"
    with open(path, "a") as file:
        file.write(line[:40])
    torn = news(run.path, token)
    assert (torn.curves, torn.after, torn.again) == (None, token, False)
    with open(path, "a") as file:
        file.write(line[40:])
    assert news(run.path, token).curves.step == [4]


def test_a_run_that_was_taken_back_is_shown_anew(run):
    """Also if its file is longer by now than it was when the page last asked."""
    token = news(run.path, "").after
    text = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    again = text[0] + "".join(json.dumps(train_line(step, seconds=9.0).to_json()) + "\n" for step in range(2, 9))
    (run.path / "metrics.jsonl").write_text(again)
    answer = news(run.path, token)
    assert (answer.again, answer.curves.step) == (True, [1, 2, 3, 4, 5, 6, 7, 8])
    (run.path / "metrics.jsonl").write_text(text[0])
    answer = news(run.path, answer.after)
    assert (answer.again, answer.curves.step) == (True, [1])


def test_a_damaged_line_is_named(run):
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write("{}\n")
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: a line is damaged"):
        news(run.path, "")
    with asking(run.path) as ask:
        assert ask("/lines?run=0")[0] == 500


@pytest.mark.parametrize("token", ["x", "-", "99999999", "²-1", "9" * 40])
def test_a_token_that_nobody_gave_begins_anew(run, token):
    assert news(run.path, token).again


def test_tokens_have_places_only_where_they_are_known(run):
    short = rollout("12", 1.0, tokens=[1, 2], token_logprobs=[-0.25, -1.0], length=2)
    odd = rollout("123", -1.0, tokens=[5, 6], token_logprobs=[-1.0, -1.0])
    run.append_rollouts(4, [group(4, short, odd)])
    first, second = sample_groups(run)[0].completions
    assert (first.token_ends, first.token_logprobs) == ([1, 2], [-0.25, -1.0])
    assert second.token_ends is None


def test_a_long_run_is_thinned_and_keeps_its_last_step():
    lines = [train_line(step, measured={"loss": np.nan if step % 2 else 1.0}) for step in range(1, 12)]
    curves = Curves.of(RunMetrics(lines, []), most=4)
    assert list(curves.step) == [2, 5, 8, 11]
    assert curves.to_json()["trained"]["loss"]["of the update"] == [1.0, None, 1.0, None]
    assert "gradient norm" not in curves.trained


def page_of(run):
    shown = ShownRun(0, HOSTILE, Curves.of(run.metrics()), sample_groups(run))
    return document(
        HOSTILE, '<h1>a</h1><div id="live" hidden></div>', PageData([shown], asks=False, logarithmic=LOGARITHMIC)
    )


def test_only_our_script_may_run(run):
    page = page_of(run)
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert json.loads(data)["runs"][0]["groups"][0]["completions"][0]["text"] == HOSTILE
    assert "<" not in data
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith(f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';")
    assert "connect-src" not in policy
    assert "<img" not in page
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def in_browser(page, folder):
    """Return the HTML of what the script has made of a page."""
    file = folder / "page.html"
    file.write_text(page)
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom")
    done = subprocess.run([BROWSER, *flags, file.as_uri()], capture_output=True, text=True, timeout=300)
    return done.stdout.partition('<div id="live">')[2].partition("<script")[0]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_shows_curves_and_escaped_groups(run, tmp_path):
    shown = in_browser(page_of(run), tmp_path)
    assert "<polyline" in shown
    assert shown.count('r="4"') == 2  # the only evaluation, in its panel and in the legend
    assert "Horizontal axis" in shown
    assert "<img" not in shown
    texts = html.unescape(re.sub(r"<[^>]*>", "", shown))
    assert texts.count(HOSTILE) == 6  # the prompt and a completion of each group
    assert "3 of 3 groups" in texts


# Events as a reader makes them. The arrow key goes to step 2, and + zooms in there. What follows each is written down.
ACTS = """
const speed = [...document.querySelectorAll("figure > svg")].find((svg) => svg.ariaLabel.startsWith("tokens a second"));
const choose = (select, value) => { select.value = value; select.dispatchEvent(new Event("change")); };
const [axis, show, order, colour] = document.querySelectorAll("select");
const all = [...document.querySelectorAll("button")].find((button) => button.textContent === "Show all");
const note = (what) => document.getElementById("live").append(
  `[${what}: ${speed.parentNode.querySelector(".where").textContent}, ${all.disabled ? "all" : "zoomed"}]`);
const press = (...keys) => keys.forEach((key) => speed.dispatchEvent(new KeyboardEvent("keydown", {key})));
const point = (what, share) => {
  const {left, width} = speed.getBoundingClientRect();
  speed.dispatchEvent(new PointerEvent(`pointer${what}`, {clientX: left + share * width}));
};
choose(axis, "seconds");
choose(colour, "log-probability");
choose(show, "any cut off");
press("-", "Escape", "Home", "ArrowRight");
note("arrow");
press("+");
note("plus");
press("Escape");
note("Escape");
point("move", 0.95);
note("hover");
point("down", 0.4); point("move", 0.9); point("up", 0.9);
point("move", 0.5);
note("drag");
speed.dispatchEvent(new MouseEvent("dblclick"));
point("leave", 0);
note("double click");
"""
FOLLOWS = {
    "arrow": "at seconds 2, step 2, all",
    "plus": "at seconds 2, step 2, zoomed",
    "Escape": "at seconds 2, step 2, all",
    "hover": "at seconds 3, step 3, all",
    "drag": "at seconds 2, step 2, zoomed",
    "double click": "newest: seconds 3, step 3, all",
}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_a_browser_obeys_keys_pointer_and_choices(run, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "SCRIPT", page_module.SCRIPT + ACTS)
    cut = rollout("12", 1.0, tokens=[1, 2], token_logprobs=[-0.25, -3.0], length=2, stopped=False)
    run.append_rollouts(4, [group(4, cut, rollout("13", -1.0))])
    shown = in_browser(page_of(run), tmp_path)
    assert dict(re.findall(r"\[([\w ]+): ([^]]*)\]", shown)) == FOLLOWS
    assert "1 of 1 group, from" in shown
    assert '<mark class="heat3" title="log-probability -3">2</mark>' in shown


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [(["--port=70000"], "--port=70000: must be from 0 to 65535"), ([], "is a file; name the directory of a run")],
)
def test_mistakes_get_one_sentence(tmp_path, capsys, flags, sentence):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path / ("run" if flags else "file")), *flags])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(tmp_path, capsys):
    server = make_server([tmp_path], "127.0.0.1", 0)
    with server:
        assert command.main([str(tmp_path), f"--port={server.server_port}"]) == 2
    assert_one_sentence(capsys, f"--address=127.0.0.1 --port={server.server_port}: cannot be listened on")
