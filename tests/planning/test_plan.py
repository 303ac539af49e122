"""Plans, and the command line that makes them."""

import dataclasses
import json
from functools import partial
from types import SimpleNamespace

import jax
import pytest

from grpo_jax.commands import plan as command
from grpo_jax.config import ConfigError, load
from grpo_jax.data import make_task
from grpo_jax.planning import plan as planning
from grpo_jax.planning.costs import Costs
from grpo_jax.planning.plan import Plan, advice, make_plan, model_flops
from grpo_jax.planning.table import MARKDOWN_HEAD, markdown_row, show
from grpo_jax.sampling import full_length_steps
from grpo_jax.terminal import PlainConsole
from tests.helpers import CONFIGS, start
from tests.planning.small import PROMPT, SMALL, config, with_adapters


def planned(**changes):
    return plan_of(config(**changes))


def plan_of(made):
    return make_plan(made, "v5e:2x2", made.model.architecture, prompt_tokens=PROMPT)


def by_the_command_line(path):
    """Return a plan that the launcher has written, in a process of its own."""
    fields = [f"--config.{field}={value}" for field, value in SMALL.items()]
    done = start(
        "launch/plan.py",
        "--config=configs/two_grpo.py",
        "--topology=v5e:2x2",
        f"--prompt-tokens={PROMPT}",
        f"--json={path}",
        *fields,
        XLA_FLAGS="",  # libtpu ends a process whose flags it does not know
    )
    out, err = done.communicate(timeout=500)
    assert done.returncode == 0, err
    assert "Fits." in out
    written = json.loads(path.read_text())
    assert written["fits"]
    assert written["topology"] == "v5e:2x2"
    return Plan.from_json(written)


@pytest.mark.slow
def test_a_plan(tpu_compiler, tmp_path):
    plan = by_the_command_line(tmp_path / "plan.json")
    # 4/3 of the model's needs for what is computed twice; kernels compute their diagonal blocks whole. If scans
    # were counted as one layer, there would be hardly more than half (test_costs.py compares them with unrolled ones).
    done = plan.update.costs.flops + plan.update.costs.kernel_flops
    assert 1.2 < done / plan.update.model_flops < 1.6
    assert plan.sample.costs.flops == pytest.approx(plan.sample.model_flops, rel=0.05)
    assert plan.update.costs.flops_once == pytest.approx(plan.update.analysis.flops, rel=0.03)
    assert plan.sample.costs.flops_once == pytest.approx(plan.sample.analysis.flops, rel=0.05)
    assert 0 < plan.update.mfu(plan.chip) < 0.75
    assert plan.fits
    assert plan.score is None
    # Parameters and two moments in float32, cut over four chips.
    assert plan.update.memory.params == pytest.approx(plan.parameters, rel=0.01)
    assert plan.update.memory.optimizer == pytest.approx(2 * plan.parameters, rel=0.01)
    assert plan.sample.memory.params == pytest.approx(2 * plan.parameters, rel=0.01)
    assert plan.sample.memory.cache == 8 * (PROMPT + 2 * 60) * 2 * 2 * 1 * 128 * 2
    # In each of four micro-batches every layer is gathered twice in bfloat16, and the head once and not for each piece.
    assert plan.update.costs.collective_bytes["all-gather"] < 4 * 2 * 2 * plan.parameters * 1.1


@pytest.mark.slow
def test_a_plan_with_adapters_a_reference_and_a_scorer(tpu_compiler):
    made = with_adapters(config(objective__old_logprobs="trainer", objective__kl_coef=0.1))
    plan = plan_of(made)
    update, score = plan.update, plan.score
    # One forward pass, nothing twice; kernels compute their diagonal blocks whole.
    assert 0.95 < (score.costs.flops + score.costs.kernel_flops) / score.model_flops < 1.3
    assert score.costs.flops_once == pytest.approx(score.analysis.flops, rel=0.05)
    # The compiler's peak contains the memory that the plan ascribes to the program, with frozen weights, and more.
    assert 0 < score.memory.activations < update.memory.activations
    assert plan.fits


@pytest.fixture
def no_compiler(tpu_compiler, monkeypatch):
    """Return programs by their names, lowered but not compiled: each run takes a second and a GiB."""
    memory = {f"{name}_size_in_bytes": 0 for name in ("argument", "output", "alias", "generated_code")}
    compiled = SimpleNamespace(
        as_text=str,
        cost_analysis=lambda: {"flops": 1.0, "bytes accessed": 1.0, "optimal_seconds": 1.0},
        memory_analysis=lambda: SimpleNamespace(**memory, temp_size_in_bytes=2**30),
    )
    lowered = {}

    def compile_nothing(name, program, options):
        lowered[name] = program
        return compiled

    monkeypatch.setattr(planning, "_compile", compile_nothing)
    monkeypatch.setattr(planning, "measure", lambda *_: Costs(1.0, 1.0, 0.0, 1.0, 0.0, 0.0, {"all-gather": 1e9}))
    return lowered


@pytest.mark.parametrize(
    ("old", "kl", "scores"), [("sampler", 0.0, 0), ("trainer", 0.0, 1), ("sampler", 0.1, 1), ("trainer", 0.1, 2)]
)
def test_the_scorer_is_planned_as_often_as_it_runs(old, kl, scores, no_compiler):
    made = config(
        objective__old_logprobs=old, objective__kl_coef=kl, train__minibatches=2, rollout__prompts_per_batch=8
    )
    plan = plan_of(made)
    assert list(plan.programs) == (["update", "score", "sample"] if scores else ["update", "sample"])
    assert set(no_compiler) == set(plan.programs)
    assert plan.step_seconds == 2 + 2 * scores + 4
    assert plan.step_chip_hours == plan.step_seconds * 4 / 3600
    # The update that runs is the one that takes what was scored.
    groups = no_compiler["update"].args_info[0][1].groups
    assert (groups.old_logprobs is not None, groups.reference_logprobs is not None) == (old == "trainer", kl > 0)
    if scores:
        assert plan.score.runs == 2 * scores
        assert plan.score.model_flops == plan.update.model_flops / 3
        assert no_compiler["score"].args_info[0][1].groups.old_logprobs is None
        assert no_compiler["score"].out_info.shape == groups.sampler_logprobs.shape
        large = dataclasses.replace(plan.score.memory, peak=16 * 2**30)
        assert dataclasses.replace(plan, score=dataclasses.replace(plan.score, memory=large)).too_large == ["score"]


def test_tables_show_the_scorer_where_there_is_one(no_compiler):
    for old, column, seconds in (("trainer", " score ", "1, 1, 1"), ("sampler", None, "1, -, 1")):
        plan, console = planned(objective__old_logprobs=old), PlainConsole(record=True, width=200)
        show(plan, [], console)
        assert console.export_text().count(" score ") == (3 if column else 0)
        written = json.loads(json.dumps(plan.to_json()))
        assert (written["fits"], written["step_seconds"]) == (plan.fits, plan.step_seconds)
        assert Plan.from_json(written) == plan
        row = markdown_row("small", 2, "1 x 4 x 1", plan)
        assert f"| {seconds} |" in row
        assert row.count("|") == MARKDOWN_HEAD.splitlines()[0].count("|")


def test_drafts_are_rows_of_a_step_and_each_completion_has_its_prompts_keys(no_compiler):
    plan, console = planned(rollout__speculation=3), PlainConsole(record=True, width=200)
    assert (plan.lanes, plan.drafts) == (8 * 2, 3)
    assert no_compiler["sample"].args_info[0][3].shape == (32, 2, 60)  # the earlier completions
    assert plan.sample.memory.cache == (8 * PROMPT + 16 * (PROMPT + 60 + 3)) * 2 * 2 * 1 * 128 * 2
    show(plan, [], console)
    assert "a decode step reads 4 rows for each completion. None is assumed to be right" in console.export_text()
    assert full_length_steps(16, prompts=8, group_size=2, room=60, drafts=3) == (59, 16 / 59)
    assert full_length_steps(0, prompts=8, group_size=2, room=60) == (59, 0)


def test_a_program_that_jaxlib_cannot_write_down(no_compiler, monkeypatch):
    def refuse():
        raise jax.errors.JaxRuntimeError("INTERNAL: RET_CHECK failure\nand a page more")

    compiled = planning._compile("update", None, {})
    monkeypatch.setattr(compiled, "as_text", refuse)
    with pytest.raises(ConfigError, match=r"peak of .* GiB, but this jaxlib cannot print it \(INTERNAL"):
        planned()


def test_adapters_are_not_all_parameters(no_compiler):
    whole, adapted = planned().parameters, plan_of(with_adapters(config())).parameters
    assert whole < adapted < 1.1 * whole


def test_what_a_model_needs():
    """6 operations per parameter and token, plus those of attention."""
    made = config()
    architecture = made.model.architecture
    matrices = 2 * (256 * 128 * 2 * (2 + 1) + 3 * 256 * 1024)
    groups, prompt, own = 32, PROMPT, 59  # the last token of a completion is not read, and the prompt is read once
    pairs = prompt**2 / 2 + 2 * ((prompt + 60) ** 2 - prompt**2) / 2
    expected = groups * 6 * (matrices * (prompt + 2 * own) + 2048 * 256 * (1 + 2 * own) + 2 * 2 * 2 * 128 * pairs)
    assert model_flops(made, architecture, PROMPT)["update"] == pytest.approx(expected)
    assert model_flops(made, architecture, PROMPT)["score"] == pytest.approx(expected / 3)


def test_advice():
    made = config(model__attention="plain", model__remat="none", train__logprob_chunk=0)
    assert advice(made, []) == []
    fields = [change.split()[0] for change in advice(made, ["update"])]
    assert fields == ["model.attention", "model.remat", "train.logprob_chunk", "train.microbatch_groups", "mesh.fsdp"]
    forward = [change.split()[0] for change in advice(made, ["score"])]  # it keeps nothing for a backward pass
    assert forward == ["model.attention", "train.logprob_chunk", "train.microbatch_groups", "mesh.fsdp"]
    corrected = {"objective__old_logprobs": "trainer", "objective__importance_cap": 2.0}
    fields = [change.split()[0] for change in advice(config(rollout__quantization="int8", **corrected), ["sample"])]
    assert fields == ["rollout.prompts_per_batch", "mesh.tensor"]
    assert [change.split()[0] for change in advice(config(), ["sample"])] == [*fields, "rollout.quantization"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--topology=v9:2x2"], "--topology=v9:2x2: is unknown; name one such as v5e:2x2"),
        (["--topology=v5e:3x7"], "--topology=v5e:3x7: there is no such slice; name one such as v5e:2x2"),
        (["--topology=h100:0"], "--topology=h100:0: is unknown; name one such as v5e:2x2"),
        (["--topology=h100:8x2x2"], "--topology=h100:8x2x2: is unknown; name one such as v5e:2x2"),
        (["--topology=v5e:2x2", "--config.mesh.data=3"], "does not cover the 4 devices"),
        (["--topology=v5e:2x2", "--prompt-tokens=0"], "--prompt-tokens=0: must be at least 1"),
        (["--topology=v5e:2x2", "--json=/no/dir/x.json"], "--json=/no/dir/x.json: must be a file in a directory"),
        (["--topology=v5e:2x2", "--json=/"], "--json=/: must be a file in a directory that exists"),
    ],
)
def test_mistakes(flags, message, tpu_compiler, capsys):
    fields = [f"--config.{field}={value}" for field, value in SMALL.items() if field not in "".join(flags)]
    code = command.main([f"--config={CONFIGS / 'two_grpo.py'}", f"--prompt-tokens={PROMPT}", *fields, *flags])
    assert code == 2
    assert message in capsys.readouterr().err


def test_what_is_not_said_is_the_tasks():
    """This applies to the embedded task; the tokenizer of questions may be absent here."""
    embedded, questions = load(CONFIGS / "two_grpo.py"), load(CONFIGS / "smollm2_135m.py")
    task = partial(make_task, embedded)
    assert command._architecture(embedded, task).vocab_size == 17
    assert command._prompt_tokens(embedded, task, None) == 12
    none = partial(make_task, questions)
    assert command._prompt_tokens(questions, none, None) == questions.task.max_prompt_tokens
    model = dataclasses.replace(questions.model, architecture=embedded.model.architecture)
    with pytest.raises(ConfigError, match="vocab_size=0: a plan reads no tokenizer"):
        command._architecture(dataclasses.replace(questions, model=model), none)
