"""A study's directory belongs to one study."""

import json

import pytest

from grpo_jax.config import ConfigError, to_dict
from grpo_jax.studies import read_study
from grpo_jax.studies.directory import begin
from tests.studies.files import arms, make


def refuses(study, workdir):
    with pytest.raises(ConfigError) as caught:
        begin(study, workdir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_study_is_read_as_it_was_written(tmp_path):
    study = make(tmp_path)
    begin(study, tmp_path / "study")
    assert read_study(tmp_path / "study") == study
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["study.json"]


def test_seeds_may_be_added_but_not_taken_away(tmp_path):
    begin(make(tmp_path), tmp_path)
    more = make(tmp_path, seeds=(0, 1, 2, 3))
    begin(more, tmp_path)
    assert read_study(tmp_path) == more
    assert "has the seeds [2, 3], which the study no longer has" in refuses(make(tmp_path), tmp_path)
    assert read_study(tmp_path) == more


def test_the_question_may_be_reworded(tmp_path):
    begin(make(tmp_path, question="Do runs want to be these?"), tmp_path)
    begin(make(tmp_path), tmp_path)
    assert read_study(tmp_path) == make(tmp_path)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"arms": arms(optimizer__learning_rate=1e-3)}, "arms.G = 4.overrides"),
        ({"comparisons": {"prompts": (64,)}}, "comparisons"),
    ],
)
def test_another_study_is_refused(changes, field, tmp_path):
    begin(make(tmp_path), tmp_path)
    assert f"they differ in {field}" in refuses(make(tmp_path, **changes), tmp_path)


def record(study, workdir, **changes):
    """Write the config.json of a run with some fields changed."""
    run = list(study.runs())[-1]
    values = to_dict(run.arm.configuration(run.seed))
    for field, value in changes.items():
        section, name = field.split("__")
        values[section][name] = value
    run.directory(workdir).mkdir(parents=True)
    (run.directory(workdir) / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(("field", "value"), [("optimizer.learning_rate", 1e-3), ("task.credit", "partial")])
def test_a_config_file_that_was_edited_since_is_noticed(tmp_path, field, value):
    study = make(tmp_path)
    record(study, tmp_path, **{field.replace(".", "__"): value})
    assert f"differs from arms.G = 4 as it is now (in {field})" in refuses(study, tmp_path)
    assert not (tmp_path / "study.json").exists()


def test_how_often_a_finished_run_was_saved_decides_nothing(tmp_path):
    """An unfinished run could not be continued, because it requires its own configuration."""
    study = make(tmp_path)
    record(study, tmp_path, checkpoint__every=1, logging__rollouts_every=7, evaluation__every=1)
    assert "(in evaluation.every, checkpoint.every, logging.rollouts_every)" in refuses(study, tmp_path)
    (list(study.runs())[-1].directory(tmp_path) / "summary.json").write_text("{}")
    begin(study, tmp_path)


def test_a_directory_without_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no study\.json"):
        read_study(tmp_path)


@pytest.mark.parametrize("text", ['{"name": ', "[1]", '{"name": "x"}', '{"name": "x", "arms": 3}'])
def test_a_damaged_study(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    assert "study.json: is damaged" in refuses(make(tmp_path), tmp_path)


def test_a_runs_directory_is_no_studys(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert "is the directory of a run; name another for a study" in refuses(make(tmp_path), tmp_path / "run")


def test_a_directory_that_cannot_be_made(tmp_path):
    study = make(tmp_path)
    assert "cannot be written to (Not a directory)" in refuses(study, tmp_path / "tiny.py" / "study")
