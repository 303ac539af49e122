"""Plans compiled by XLA's compiler for GPUs that are not there: `make test-gpu-plan`. Skipped without the compiler."""

import dataclasses

import pytest

from grpo_jax.config import load
from grpo_jax.data import make_task
from grpo_jax.planning import plan as planning
from grpo_jax.planning.chips import missing_wheels
from grpo_jax.planning.plan import make_plan
from grpo_jax.training.experiment import tokens_of
from tests.helpers import CONFIGS
from tests.planning.small import PROMPT, config


@pytest.fixture(autouse=True)
def gpu_compiler(compiled_anew):
    if missing := missing_wheels("gpu"):
        pytest.skip(f"the compiler for GPUs is not installed; pip install {missing}")


def test_the_demo_for_eight_gpus(monkeypatch):
    own = {}
    compile_for_real = planning._compile

    def compile_and_ask(name, *arguments):
        compiled = compile_for_real(name, *arguments)
        own[name] = compiled.memory_analysis()
        return compiled

    monkeypatch.setattr(planning, "_compile", compile_and_ask)
    demo = load(CONFIGS / "two_grpo.py")
    task = make_task(demo)
    architecture = dataclasses.replace(demo.model.architecture, vocab_size=tokens_of(task))
    plan = make_plan(demo, "h100:8", architecture, task.max_prompt_tokens)
    assert plan.chips == 8
    assert plan.fits
    for name, program in plan.programs.items():
        account = own[name]
        assert program.memory.peak - program.memory.waiting == (
            account.argument_size_in_bytes
            + account.output_size_in_bytes
            - account.alias_size_in_bytes
            + account.temp_size_in_bytes
        )
        assert account.argument_size_in_bytes >= program.memory.params + program.memory.optimizer
        assert program.costs.compute_seconds > 0
        assert program.analysis is None
    assert 1 < plan.update.costs.flops / plan.update.model_flops < 1.6
    assert 0.9 < plan.sample.costs.flops / plan.sample.model_flops < 1.3


@pytest.mark.parametrize("topology", ["h100:4", "a100:2x2"])
def test_scanned_layers_and_fused_attention(topology):
    made = config(objective__old_logprobs="trainer")
    plan = make_plan(made, topology, made.model.architecture, PROMPT)
    assert plan.chips == 4
    assert plan.fits
    # Parameters and two moments in float32, cut over four GPUs.
    assert plan.update.memory.params == pytest.approx(plan.parameters, rel=0.01)
    assert plan.update.memory.optimizer == pytest.approx(2 * plan.parameters, rel=0.01)
    # 4/3 of the model's needs for what is computed twice; kernels compute their diagonal blocks whole.
    for program, least, most in ((plan.update, 1.2, 1.7), (plan.score, 0.95, 1.3)):
        assert program.costs.kernel_flops > 0
        done = program.costs.flops + program.costs.kernel_flops
        assert least < done / program.model_flops < most
    assert plan.update.costs.collective_bytes["all-gather"] > 4 * 2 * plan.parameters
    assert 0 < plan.update.mfu(plan.chip) < 0.75
