"""Checkpoints: whole or not at all, examined before they are read, and which are kept."""

import dataclasses
import json
import logging
import shutil
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from grpo_jax.runs import checkpoints as module
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.directory import kept_steps
from grpo_jax.runs.seals import damage
from grpo_jax.types import TrainState
from tests.several_processes import several


def state(value=0.0):
    """Random numbers do not compress: a checkpoint's largest file then holds them."""
    kernel = jax.random.normal(jax.random.key(int(10 * value)), (60, 50))
    params = {"layer": {"kernel": kernel, "scale": jnp.ones(30)}}
    return TrainState(params, optax.adam(1e-3).init(params), jnp.int32(value), jnp.int32(0))


@pytest.fixture
def saved(tmp_path):
    """A directory with checkpoints 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep_last=3, keep_best=0)
    for step in (1, 2, 3):
        checkpoints.save(step, state(step), {"cursor": 10 * step})
    checkpoints.close()
    return tmp_path / "checkpoints"


def restore(directory):
    checkpoints = Checkpoints(directory, keep_last=3, keep_best=0)
    restored = checkpoints.restore_latest(state())
    checkpoints.close()
    return restored


def test_each_process_computes_the_checksums_of_its_part(tmp_path, monkeypatch):
    sealed = []
    monkeypatch.setattr(module, "seal_own", lambda place, process: sealed.append((process, [*place.rglob("d/*")])))
    with closing(Checkpoints(tmp_path, keep_last=3, keep_best=0)) as checkpoints:
        checkpoints.save(1, state(1), {})
    ((process, written),) = sealed
    assert process == 0
    assert written


def test_damage_that_one_process_sees_is_damage_for_all(saved):
    seal = saved / "3" / "seal.json"
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {"state/ocdbt.process_1/d/0": 1}))
    checkpoints = Checkpoints(saved, keep_last=3, keep_best=0, read_only=True)
    with several(2) as everywhere:
        errors = everywhere(lambda process: checkpoints.restore_step(3, state()))
    checkpoints.close()
    assert [type(error) for error in errors] == [ValueError, ValueError]
    assert all("state/ocdbt.process_1/d/0 is missing" in str(error) for error in errors)


def test_what_is_saved_comes_back(saved):
    restored = restore(saved)
    assert (restored.step, restored.record) == (3, {"cursor": 30})
    jax.tree.map(np.testing.assert_array_equal, restored.state, state(3))


@pytest.mark.parametrize("name", ["x[lr=1e-3]", "x[b]*?"])
def test_a_directory_may_have_the_name_of_a_pattern(tmp_path, name):
    """Orbax searches the checkpoint that it writes, and would find nothing there."""
    directory = tmp_path / name / "checkpoints"
    with closing(Checkpoints(directory, keep_last=3, keep_best=0)) as checkpoints:
        checkpoints.save(1, state(1), {"cursor": 10})
    restored = restore(directory)
    assert (restored.step, kept_steps(directory)) == (1, [1])
    jax.tree.map(np.testing.assert_array_equal, restored.state, state(1))
    with closing(Checkpoints(directory, keep_last=3, keep_best=0, read_only=True)) as checkpoints:
        assert checkpoints.restore_step(1, state()).record == {"cursor": 10}


def test_below_adapters_only_they_are_saved(tmp_path):
    """The others, which no update changes, are those of the state that is restored into."""

    def with_adapters(value):
        layer = {"kernel": jnp.full((60, 50), value), "lora_a": jnp.full((60, 2), value), "lora_b": jnp.ones((2, 50))}
        return dataclasses.replace(state(), params={"layer": layer}, opt_state=jnp.full(3, value))

    directory, like = tmp_path / "checkpoints", with_adapters(4.0)
    with closing(Checkpoints(directory, keep_last=3, keep_best=0)) as checkpoints:
        checkpoints.save(1, with_adapters(2.0), {})
    with closing(Checkpoints(directory, keep_last=3, keep_best=0)) as checkpoints:
        restored = checkpoints.restore_latest(like).state
    assert restored.params["layer"]["kernel"] is like.params["layer"]["kernel"]
    assert float(restored.params["layer"]["lora_a"][0, 0]) == float(restored.opt_state[0]) == 2.0
    kept = ocp.StandardCheckpointer().restore(directory / "1" / "state")
    assert kept["params"]["layer"].keys() == {"lora_a", "lora_b"}


def test_nothing_saved(tmp_path):
    assert restore(tmp_path / "checkpoints") is None


def largest_file(directory):
    return max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(directory):
    path = largest_file(directory / "state")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_one_bit(directory):
    """Orbax itself would hand out the wrong numbers."""
    path = largest_file(directory / "state")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def lose_the_record(directory):
    shutil.rmtree(directory / "record")


def lose_the_data(directory):
    largest_file(directory / "state").unlink()


def empty_every_file(directory):
    for path in directory.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_one_bit, lose_the_record, lose_the_data, empty_every_file])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(saved, damage, caplog):
    damage(saved / "3")
    with caplog.at_level(logging.WARNING):
        restored = restore(saved)
    assert (restored.step, restored.record) == (2, {"cursor": 20})
    jax.tree.map(np.testing.assert_array_equal, restored.state, state(2))
    assert "checkpoint 3 is damaged" in caplog.text
    assert "falling back to the one before it" in caplog.text
    assert (saved.parent / "checkpoints_damaged" / "3").is_dir()  # moved aside, not thrown away


def test_after_a_fallback_the_step_can_be_saved_again(saved):
    flip_one_bit(saved / "3")
    checkpoints = Checkpoints(saved, keep_last=3, keep_best=0)
    assert checkpoints.restore_latest(state()).step == 2
    checkpoints.save(3, state(3.5), {"cursor": 31})
    checkpoints.close()
    assert restore(saved).record == {"cursor": 31}


def test_all_damaged(saved, caplog):
    for step in ("1", "2", "3"):
        flip_one_bit(saved / step)
    assert restore(saved) is None
    assert caplog.text.count("is damaged") == 3


def test_a_half_written_checkpoint_is_not_seen(saved):
    """A killed process leaves a temporary directory that was never renamed."""
    shutil.copytree(saved / "3", saved / "4.orbax-checkpoint-tmp-1")
    assert restore(saved).step == 3


def save_scores(directory, scores):
    with closing(Checkpoints(directory, keep_last=2, keep_best=1)) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, state(step), {}, score)
    return sorted(path.name for path in directory.iterdir())


def test_which_are_kept(tmp_path):
    """The last two and the best, also when another process goes on."""
    assert save_scores(tmp_path, {1: 0.2, 2: 0.9, 3: None, 4: 0.5, 5: None}) == ["2", "4", "5"]
    assert save_scores(tmp_path, {6: 0.3, 7: None}) == ["2", "6", "7"]
    with closing(Checkpoints(tmp_path, keep_last=2, keep_best=1, read_only=True)) as checkpoints:
        best = checkpoints.restore_best(state())
    assert best.step == 2
    jax.tree.map(np.testing.assert_array_equal, best.state, state(2))


def test_a_score_that_comes_later(tmp_path):
    """As after a stop before the evaluation: it counts like the others, and damage to it is noticed."""
    save_scores(tmp_path, {1: 0.2, 2: 0.3, 3: None})
    with closing(Checkpoints(tmp_path, keep_last=2, keep_best=1)) as checkpoints:
        checkpoints.add_score(3, 0.9)
        checkpoints.add_score(2, 0.99)  # which it has already
        assert checkpoints.restore_best(state()).step == 3
    assert save_scores(tmp_path, {4: 0.5, 5: 0.4}) == ["3", "4", "5"]
    with closing(Checkpoints(tmp_path, keep_last=2, keep_best=1, read_only=True)) as checkpoints:
        assert checkpoints.restore_best(state()).step == 3
    assert damage(tmp_path / "3") == ""
    (tmp_path / "3" / "metrics" / "metrics").write_text('{"score": 0.8}')
    assert damage(tmp_path / "3") == "metrics/metrics has changed since it was written"


def test_without_scores_none_is_the_best(saved):
    for keep_best in (0, 1):
        with closing(Checkpoints(saved, keep_last=3, keep_best=keep_best, read_only=True)) as checkpoints:
            assert checkpoints.restore_best(state()) is None


def test_the_checkpoint_of_a_step(saved):
    (saved / "9.orbax-checkpoint-tmp-1").mkdir()
    assert kept_steps(saved) == [1, 2, 3]
    assert kept_steps(saved / "nothing") == []
    flip_one_bit(saved / "3")
    with closing(Checkpoints(saved, keep_last=3, keep_best=0, read_only=True)) as checkpoints:
        found = checkpoints.restore_step(2, state())
        assert checkpoints.restore_step(7, state()) is None
        with pytest.raises(ValueError, match=r"checkpoints/3: this checkpoint is damaged .* take another"):
            checkpoints.restore_step(3, state())
    assert (found.step, found.record) == (2, {"cursor": 20})
    jax.tree.map(np.testing.assert_array_equal, found.state, state(2))


def test_a_reader_leaves_everything_as_it_is(saved):
    """An unfinished checkpoint may be another process's work, and a damaged one is left for that process to move."""
    flip_one_bit(saved / "3")
    shutil.copytree(saved / "2", saved / "4.orbax-checkpoint-tmp-1")
    before = sorted(path for path in saved.parent.rglob("*"))
    with closing(Checkpoints(saved, keep_last=1, keep_best=0, read_only=True)) as checkpoints:
        assert checkpoints.restore_latest(state()).step == 2
    assert sorted(path for path in saved.parent.rglob("*")) == before


def test_moving_the_same_step_aside_twice_loses_neither(saved):
    for value in (3.5, 3.75):
        flip_one_bit(saved / "3")
        checkpoints = Checkpoints(saved, keep_last=3, keep_best=0)
        checkpoints.restore_latest(state())
        checkpoints.save(3, state(value), {})
        checkpoints.close()
    assert sorted(path.name for path in (saved.parent / "checkpoints_damaged").iterdir()) == ["3", "3_1"]
