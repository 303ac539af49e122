"""The runner of a study, with a program instead of `grpo train` that takes no time."""

import dataclasses
import json
import os
import shlex
import signal
import sys
import threading
import time

import pytest

from grpo_jax.config import load
from grpo_jax.config.command_line import OVERRIDE
from grpo_jax.runs.lines import UNKNOWN
from grpo_jax.studies import commands, runner
from tests.helpers import evaluation_result, summary_of
from tests.studies.files import arms, make

TRAIN = ("a program", "train")

# Its run directory is its argument. It writes down when it began and what it was given.
PROGRAM = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[1])
run.mkdir(parents=True, exist_ok=True)
cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
with open(run / "begun", "a") as file:
    file.write(json.dumps({"time": time.time(), "cores": cores, "path": os.environ["PYTHONPATH"]}) + "\\n")
with open(run.parent.parent.parent / "order", "a") as file:
    file.write(f"{run.parent.name} {run.name}\\n")
"""
MAKES_BASE_POLICY = """
(run / "warm_start").mkdir(exist_ok=True)
(run / "warm_start" / "params.safetensors").touch()
"""
FINISHES = f"""
(run / "summary.json").write_text({json.dumps(summary_of(0.25, 0.5, seconds={"total": 90}).to_json())!r})
"""
FAILS = "print('much'); print('error: the reason', file=sys.stderr); sys.exit(1)\n"
WAITS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); (run / 'waits').touch(); time.sleep(60)\n"
STARTS = "(run / 'waits').touch(); time.sleep(60)\n"


@pytest.fixture
def programs(monkeypatch):
    """Set `programs[arm name]`; the default finishes at once."""
    chosen = {}

    def command(train, run, workdir):
        program = PROGRAM + chosen.get(run.arm.name, MAKES_BASE_POLICY + FINISHES)
        return [sys.executable, "-c", program, str(run.directory(workdir).absolute())]

    monkeypatch.setattr(runner, "_command", command)
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    return chosen


def test_a_study_ends_with_a_run_that_cannot_be_compared(programs, tmp_path):
    """Its reward does not say what is right. All others would end like it, hours later."""
    unknown = evaluation_result(0.0, pass_at_1=UNKNOWN)
    values = dataclasses.replace(summary_of(0.25, 0.5, seconds={"total": 90}), base=unknown, final=unknown).to_json()
    programs["2-GRPO"] = f"{MAKES_BASE_POLICY}\n(run / 'summary.json').write_text({json.dumps(values)!r})\n"
    told = []
    outcome = runner.run_study(make(tmp_path), tmp_path, 1, TRAIN, told.append)
    ((run, reason),) = outcome.failed
    assert (run.arm.name, run.seed) == ("2-GRPO", 0)
    assert reason.startswith("its pass@1 is not known, so there is nothing to compare, and no other run is begun")
    assert told[-1] == "2-GRPO, seed 0: test pass@1 - -> - in 1.5 minutes"


def begun(run, workdir):
    return [json.loads(line) for line in (run.directory(workdir) / "begun").read_text().splitlines()]


def test_all_runs_are_made_once_seed_by_seed(programs, tmp_path):
    study, told = make(tmp_path), []
    outcome = runner.run_study(study, tmp_path, 1, TRAIN, told.append)
    assert outcome == runner.Outcome((), stopped=False)
    assert (tmp_path / "order").read_text().split("\n")[:-1] == [
        "2-grpo seed_0",
        "g-=-4 seed_0",
        "2-grpo seed_1",
        "g-=-4 seed_1",
    ]
    assert told[0].startswith("4 runs, 2 arms x 2 seeds: 0 finished; at most 1 at a time")
    assert told[1:3] == [
        "2-GRPO, seed 0: begun, run 1 of 4",
        "2-GRPO, seed 0: test pass@1 0.250 -> 0.500 in 1.5 minutes",
    ]
    assert len(told) == 9

    runner.run_study(make(tmp_path, seeds=(0, 1, 2)), tmp_path, 1, TRAIN, told.append)
    assert all(len(begun(run, tmp_path)) == 1 for run in study.runs())
    assert told[9].startswith("6 runs, 2 arms x 3 seeds: 4 finished;")
    assert len(told) == 14


def test_a_run_that_fails_stops_no_other(programs, tmp_path):
    study, told = make(tmp_path), []
    programs["2-GRPO"] = FAILS
    outcome = runner.run_study(study, tmp_path, 2, TRAIN, told.append)
    assert [(run.arm.name, run.seed, reason) for run, reason in outcome.failed] == [
        ("2-GRPO", 0, "error: the reason"),
        ("2-GRPO", 1, "error: the reason"),
    ]
    assert all(run.finished(tmp_path) == (run.arm.name == "G = 4") for run in study.runs())
    assert "2-GRPO, seed 0: failed with exit code 1" in told
    assert (tmp_path / "logs" / "2-grpo.seed_0.log").read_text().startswith("much\n")


def test_a_run_that_ends_well_without_a_result_has_failed(programs, tmp_path):
    programs["G = 4"] = MAKES_BASE_POLICY
    outcome = runner.run_study(make(tmp_path, seeds=(0,)), tmp_path, 1, TRAIN, lambda _: None)
    assert [reason for _, reason in outcome.failed] == ["no output"]


def test_one_run_makes_the_base_policy_and_the_others_wait_for_it(programs, tmp_path):
    study = make(tmp_path, seeds=(0, 1, 2))
    first, *others = study.runs()
    # The others then begin at once: each makes its base policy only when three of them have begun, or after 30 s.
    programs["2-GRPO"] = programs["G = 4"] = f"""
began = time.time()
while str(run) != {str(first.directory(tmp_path).absolute())!r} and time.time() < began + 30:
    if sum(file.stat().st_size > 0 for file in run.parent.parent.glob("*/*/begun")) >= 4:
        break
    time.sleep(.01)
(run / "made").write_text(str(time.time()))
{MAKES_BASE_POLICY}{FINISHES}"""
    runner.run_study(study, tmp_path, 4, TRAIN, lambda _: None)
    made = float((first.directory(tmp_path) / "made").read_text())
    times = [begun(run, tmp_path)[0]["time"] for run in others]
    assert min(times) > made
    assert sorted(times)[2] < float((others[0].directory(tmp_path) / "made").read_text())


def test_another_makes_the_base_policy_if_the_first_cannot(programs, tmp_path):
    programs["2-GRPO"] = FAILS
    outcome = runner.run_study(make(tmp_path, seeds=(0,)), tmp_path, 2, TRAIN, lambda _: None)
    assert len(outcome.failed) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_nothing_more_is_begun(number, programs, tmp_path, capfd):
    study, told = make(tmp_path), []
    programs["2-GRPO"] = MAKES_BASE_POLICY + STARTS  # the signal ends it: there is nothing to save yet
    programs["G = 4"] = MAKES_BASE_POLICY + WAITS.replace("sys.exit(0)", "(time.sleep(.3), sys.exit(0))")
    waiting = list(study.runs())[:2]

    def stop():
        while not all((run.directory(tmp_path) / "waits").exists() for run in waiting):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    stopper = threading.Thread(target=stop)
    stopper.start()
    before = signal.getsignal(number)
    outcome = runner.run_study(study, tmp_path, 2, TRAIN, told.append)
    stopper.join()
    assert outcome == runner.Outcome((), stopped=True)
    assert capfd.readouterr().err == f"{signal.Signals(number).name}: {runner.AT_FIRST_SIGNAL}\n"
    assert sorted(told[3:]) == [f"{run.arm.name}, seed 0: stopped before its end" for run in waiting]
    assert len((tmp_path / "order").read_text().splitlines()) == 2
    assert signal.getsignal(number) is before

    del programs["2-GRPO"], programs["G = 4"]
    runner.run_study(study, tmp_path, 2, TRAIN, told.append)
    assert all(run.finished(tmp_path) for run in study.runs())


def test_a_second_signal_is_passed_on_too(programs, tmp_path, capfd):
    study = make(tmp_path, seeds=(0,))
    only_noted = "signal.signal(signal.SIGTERM, lambda *_: (signal.signal(signal.SIGTERM, signal.SIG_DFL), "
    only_noted += "(run / 'noted').touch()))\n(run / 'waits').touch()\nwhile True: time.sleep(1)\n"
    programs["2-GRPO"] = only_noted
    first = next(study.runs()).directory(tmp_path)

    def stop():
        for name in ("waits", "noted"):
            while not (first / name).exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    told = []
    runner.run_study(study, tmp_path, 1, TRAIN, told.append)
    stopper.join()
    assert told[2:] == ["2-GRPO, seed 0: stopped before its end"]
    assert capfd.readouterr().err.splitlines()[1] == f"SIGTERM: {runner.AT_SECOND_SIGNAL}"


def test_no_run_is_left_behind(programs, tmp_path, monkeypatch):
    """For example, the pipe that progress is written to may break."""
    started, start = [], runner._start
    monkeypatch.setattr(runner, "_start", lambda *given: started.append(start(*given)) or started[-1])
    study = make(tmp_path, seeds=(0,))
    second = list(study.runs())[1].directory(tmp_path)
    programs["2-GRPO"] = f"{MAKES_BASE_POLICY}while not os.path.exists({str(second / 'begun')!r}): time.sleep(.01)\n"
    programs["G = 4"] = MAKES_BASE_POLICY + "time.sleep(60)\n"

    def broken(line):
        if "begun" not in line and "runs" not in line:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        runner.run_study(study, tmp_path, 2, TRAIN, broken)
    assert [one.process.wait(timeout=10) for one in started] == [0, -signal.SIGTERM]


@pytest.mark.parametrize(
    ("cores", "jobs", "shares"),
    [
        ([0, 1], 1, [{0, 1}]),
        ([0, 1], 2, [{0}, {1}]),
        ([3, 5, 7, 9, 11], 2, [{3, 5}, {7, 9}]),  # equal shares: times can be compared
        ([4], 3, [{4}, {4}, {4}]),
        ([0, 1], 3, [{0}, {1}, {0}]),
    ],
)
def test_cores_are_shared_equally(cores, jobs, shares, monkeypatch):
    monkeypatch.setattr(runner, "cores", lambda: cores)
    assert runner.shares(jobs) == shares


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux gives a process its cores")
def test_a_run_has_cores_of_its_own_and_the_paths_of_its_user(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/a/users/own")
    monkeypatch.setattr(runner, "shares", lambda jobs: [frozenset(runner.cores()[-1:])])
    pinned = "time.sleep(.2)\n(run / 'cores').write_text(str(sorted(os.sched_getaffinity(0))))\n"
    programs["2-GRPO"] = pinned + MAKES_BASE_POLICY + FINISHES
    study = make(tmp_path, seeds=(0,))
    runner.run_study(study, tmp_path, 1, TRAIN, lambda _: None)
    first = next(study.runs())
    assert (first.directory(tmp_path) / "cores").read_text() == str(runner.cores()[-1:])
    assert begun(first, tmp_path)[0]["path"] == f"{runner.ROOT}{os.pathsep}/a/users/own"


def test_a_command_is_the_run_that_the_study_says(tmp_path):
    study = make(tmp_path, arms=arms(optimizer__learning_rate=3e-4))
    workdir = tmp_path / "a directory"
    lines = commands(study, workdir, TRAIN)
    assert len(lines) == 4
    for run, line in zip(study.runs(), lines, strict=True):
        program, name, config, directory, *flags = shlex.split(line)
        assert (program, name) == TRAIN
        assert directory == f"--workdir={run.directory(workdir)}"
        overrides = [(match["field"], match["text"]) for match in map(OVERRIDE.fullmatch, flags)]
        assert load(config.removeprefix("--config="), overrides) == run.arm.configuration(run.seed)

    first = next(study.runs()).directory(workdir)
    first.mkdir(parents=True)
    (first / "summary.json").touch()
    assert commands(study, workdir, TRAIN) == lines[1:]
