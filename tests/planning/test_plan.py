"""Plans, and the command line that makes them."""

import json

import pytest

from grpo_jax.config import load
from grpo_jax.planning.plan import advice, make_plan, model_flops
from grpo_jax.policy import Policy
from grpo_jax.sharding import make_mesh
from grpo_jax.training.programs import abstract_inputs, make_programs
from launch import plan as command
from tests.helpers import CONFIGS, start

# The paper's programs in small: scanned layers, pieces of log-probabilities, fused attention over several blocks.
SMALL = {
    "model.architecture.vocab_size": 2048,
    "model.architecture.embed_dim": 256,
    "model.architecture.num_layers": 2,
    "model.architecture.num_heads": 2,
    "model.architecture.num_kv_heads": 1,
    "model.architecture.head_dim": 128,
    "model.architecture.mlp_dim": 1024,
    "model.compute_dtype": "bfloat16",
    "model.scan_layers": True,
    "model.remat": "full",
    "model.attention": "fused",
    "rollout.max_new_tokens": 896,
    "train.microbatch_groups": 8,
    "train.logprob_chunk": 224,
    "mesh.fsdp": 4,
}


def config(**changes):
    changes = {field.replace("__", "."): value for field, value in changes.items()}
    return load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in (SMALL | changes).items()])


def planned(**changes):
    made = config(**changes)
    return make_plan(made, "v5e:2x2", made.model.architecture, prompt_tokens=128)


@pytest.mark.slow
def test_a_plan(tpu_compiler):
    scanned, flat = planned(), planned(model__scan_layers=False)
    # 4/3 of the model's needs for what is computed twice; kernels compute their diagonal blocks whole.
    for plan in (scanned, flat):
        done = plan.update.costs.flops + plan.update.costs.kernel_flops
        assert 1.2 < done / plan.update.model_flops < 1.6
        assert plan.update.costs.flops_once == pytest.approx(plan.update.compiler_flops, rel=0.03)
        assert plan.sample.costs.flops_once == pytest.approx(plan.sample.compiler_flops, rel=0.05)
        assert 0 < plan.update.mfu(plan.chip) < 0.75
        assert plan.fits
    assert scanned.update.costs.flops == pytest.approx(flat.update.costs.flops, rel=0.02)
    assert scanned.update.costs.kernel_flops == flat.update.costs.kernel_flops
    assert scanned.sample.costs.flops == pytest.approx(flat.sample.costs.flops, rel=0.05)
    # Parameters and two moments in float32, cut over four chips.
    assert scanned.update.memory.params == pytest.approx(scanned.parameters, rel=0.01)
    assert scanned.update.memory.optimizer == pytest.approx(2 * scanned.parameters, rel=0.01)
    assert scanned.sample.memory.params == pytest.approx(2 * scanned.parameters, rel=0.01)
    assert scanned.sample.memory.cache == 8 * (128 + 2 * 896) * 2 * 2 * 1 * 128 * 2
    # In each of four micro-batches every layer is gathered twice in bfloat16, and the head once and not for each piece.
    assert scanned.update.costs.collective_bytes["all-gather"] < 4 * 2 * 2 * scanned.parameters * 1.1


@pytest.mark.slow
def test_logits_of_all_positions_are_never_in_memory(chips):
    """The vocabulary of Qwen2.5: 8 rows of 896 positions on each chip are 4.4 GB of logits, pieces of 128 are .6 GB."""
    wide = {"model__architecture__vocab_size": 151936, "train__microbatch_groups": 16}

    def temporary(chunk):
        made = config(**wide, train__logprob_chunk=chunk)
        mesh = make_mesh(made.mesh, chips)
        programs = make_programs(made, mesh, Policy(made.model.architecture, made.model, mesh), stop_tokens=(0,))
        inputs = abstract_inputs(programs, made, 128)
        compiled = programs.update.lower(inputs.state, inputs.frozen, inputs.batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 8 * 896 * 151936 * 4
    assert temporary(0) > logits
    assert temporary(128) < 0.6 * logits


def test_what_a_model_needs():
    """6 operations for each parameter and token, and attention's half."""
    made = config()
    architecture = made.model.architecture
    matrices = 2 * (256 * 128 * 2 * (2 + 1) + 3 * 256 * 1024)
    rows, tokens = 64, 1024
    attention = 6 * 2 * tokens * 2 * 128
    expected = rows * (6 * matrices * tokens + 6 * 2048 * 256 * 896 + attention * tokens)
    assert model_flops(made, architecture, 128)["update"] == pytest.approx(expected)


def test_advice():
    made = config(model__attention="plain", model__remat="none", train__logprob_chunk=0)
    assert advice(made, update_fits=True, sample_fits=True) == []
    fields = [change.split()[0] for change in advice(made, update_fits=False, sample_fits=True)]
    assert fields == ["model.attention", "model.remat", "train.logprob_chunk", "train.microbatch_groups", "mesh.fsdp"]
    fields = [change.split()[0] for change in advice(config(), update_fits=True, sample_fits=False)]
    assert fields == ["rollout.prompts_per_batch", "mesh.tensor"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--topology=v9:2x2"], "--topology=v9:2x2: is not known; name one such as v5e:2x2"),
        (["--topology=v5e:3x7"], "--topology=v5e:3x7: there is no such slice; name one such as v5e:2x2"),
        (["--topology=v5e:2x2", "--config.mesh.data=3"], "does not cover the 4 devices"),
        (["--topology=v5e:2x2", "--config.model.architecture.vocab_size=0"], "vocab_size=0: no tokenizer is read"),
    ],
)
def test_mistakes(flags, message, tpu_compiler, capsys):
    fields = [f"--config.{field}={value}" for field, value in SMALL.items() if field not in "".join(flags)]
    code = command.main([f"--config={CONFIGS / 'two_grpo.py'}", "--prompt-tokens=128", *fields, *flags])
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line(tmp_path):
    fields = [f"--config.{field}={value}" for field, value in SMALL.items()]
    done = start(
        "launch/plan.py",
        "--config=configs/two_grpo.py",
        "--topology=v5e:2x2",
        "--prompt-tokens=128",
        f"--json={tmp_path / 'plan.json'}",
        *fields,
    )
    out, err = done.communicate(timeout=500)
    assert done.returncode == 0, err
    assert "Fits." in out
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["fits"]
    assert plan["topology"] == "v5e:2x2"
