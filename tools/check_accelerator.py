"""Check on a machine with GPUs or TPUs that they compute what a CPU computes, and measure how fast they are.

    python tools/check_accelerator.py --to=docs/accelerators/NAME

Writes a page, NAME.md, and its figures, NAME.json. docs/accelerators/README.md says what is checked. A machine without
an accelerator runs a short form, with smaller models: it shows that the checks work, and nothing about accelerators.

Exit codes: 0 all checks passed; 1 some did not, or JAX finds no devices.
"""

import argparse
import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from grpo_jax.commands import argv_prefix
from grpo_jax.config import Config, load
from grpo_jax.json_record import JsonRecord
from grpo_jax.planning.plan import Plan, model_flops
from grpo_jax.policy import Policy, causal
from grpo_jax.policy.attention import Scoring
from grpo_jax.policy.fused_attention import KERNELS, fused_causal
from grpo_jax.processes import fetch, put
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import Measured
from grpo_jax.runs.provenance import Start
from grpo_jax.runs.starts import this_start
from grpo_jax.sampling import Counter, Stream
from grpo_jax.sharding import make_mesh
from grpo_jax.training.abstract_inputs import abstract_inputs
from grpo_jax.training.programs import Programs, make_programs
from grpo_jax.types import Groups, Params, PromptBatch, Rollouts, UpdateBatch

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "configs" / "two_grpo.py"
PROMPT = 64  # tokens

Fields: TypeAlias = dict[str, object]  # of a configuration, by their dotted names


@dataclass(frozen=True)
class Row(JsonRecord):
    """The result of one comparison."""

    name: str
    compared: str
    figure: float
    limit: float | None = None  # the largest figure that passes; None: any number does
    note: str = ""

    @property
    def passed(self) -> bool:
        return math.isfinite(self.figure) and (self.limit is None or self.figure <= self.limit)

    def line(self) -> str:
        """Return the row of a table in Markdown."""
        limit = "-" if self.limit is None else f"{self.limit:g}"
        cells = (self.name, self.compared, f"{self.figure:.4g}", limit, "yes" if self.passed else "NO", self.note)
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


@dataclass(frozen=True)
class Report(JsonRecord):
    """All rows of one run of the checks."""

    form: str
    start: Start
    seconds: float
    rows: Sequence[Row]

    def page(self) -> str:
        """Return the report as a page of Markdown."""
        failed = sum(not row.passed for row in self.rows)
        lines = [
            f"# {self.start.devices}",
            "",
            f"{self.form} form, {self.start.began}, {self.seconds:.0f} s. {self.start.code}. "
            + ", ".join(f"{name} {self.start.versions[name]}" for name in ("python", "jax", "jaxlib"))
            + ".",
            "",
            f"{len(self.rows)} checks, {failed or 'none'} of them failed.",
            "",
            "| check | compared | figure | limit | passed | |",
            "|---|---|---|---|---|---|",
            *(row.line() for row in self.rows),
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Form:
    """The sizes of all checks."""

    name: str
    demo: Fields  # of the run that is trained
    wrong: float | None  # the largest share of wrong answers after it
    killed: Fields  # of the run that is killed and continued
    kills: int
    model: Fields  # whose numbers are compared
    timed: Fields  # the model whose time is measured
    length: int = 999  # of the sequences of attention; an odd number
    repetitions: int = 3  # of what is timed


_BATCH: Fields = {"rollout.prompts_per_step": 16, "rollout.prompts_per_batch": 16, "train.microbatch_groups": 8}
_SMALL = {"embed_dim": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "mlp_dim": 64}
_BRIEF: Fields = {
    "train.steps": 6,
    "evaluation.test_problems": 8,
    "evaluation.test_samples": 2,
    "evaluation.validation_problems": 8,
    "evaluation.every": 2,
    "checkpoint.every": 2,
    "warm_start.full_steps": 20,
    "warm_start.skip_steps": 5,
}


def _model(**architecture: int) -> Fields:
    return {f"model.architecture.{name}": value for name, value in architecture.items()}


SHORT = Form(
    "short",
    demo=_BRIEF,
    wrong=None,
    killed=_BRIEF,
    kills=1,
    model=_model(vocab_size=512, **_SMALL) | _BATCH | {"rollout.max_new_tokens": 12},
    timed=_model(vocab_size=512, **_SMALL) | _BATCH | {"rollout.max_new_tokens": 12, "model.scan_layers": True},
    length=33,
    repetitions=1,
)
FULL = Form(
    "full",
    demo={},
    wrong=0.05,
    killed={"train.steps": 200},
    kills=3,
    model=_model(vocab_size=32_768, embed_dim=512, num_layers=8, num_heads=8, num_kv_heads=4, head_dim=64, mlp_dim=2048)
    | _BATCH
    | {"rollout.max_new_tokens": 128},
    timed=_model(  # Qwen2.5-0.5B's
        vocab_size=151_936, embed_dim=896, num_layers=24, num_heads=14, num_kv_heads=2, head_dim=64, mlp_dim=4864
    )
    | {
        "model.scan_layers": True,
        "model.compute_dtype": "bfloat16",
        "model.remat": "full",
        "model.attention": "fused",
        "rollout.lanes": 0,
        "rollout.prompts_per_step": 64,
        "rollout.prompts_per_batch": 64,
        "rollout.max_new_tokens": 512,
        "train.microbatch_groups": 16,
        "train.logprob_chunk": 128,
    },
)


@dataclass(frozen=True)
class Setting:
    """A model with fresh parameters on some devices, and what it computes there."""

    config: Config
    programs: Programs
    prompts: PromptBatch

    @classmethod
    def of(cls, fields: Fields, devices: Sequence[jax.Device]) -> "Setting":
        """Return the setting of these fields of the demo's configuration, sharded over all of the devices."""
        changes = fields | {"mesh.data": 1, "mesh.fsdp": len(devices)}
        config = load(DEMO, [(name, str(value)) for name, value in changes.items()])
        mesh = make_mesh(config.mesh, devices)
        architecture = config.model.architecture
        assert architecture
        programs = make_programs(config, mesh, Policy(architecture, config.model, mesh), stop_tokens=(0,))
        rng, n = np.random.default_rng(0), config.rollout.prompts_per_batch
        prompts = PromptBatch(
            ids=np.arange(n, dtype=np.uint32),
            tokens=rng.integers(1, architecture.vocab_size, (n, PROMPT), np.int32),
            lengths=rng.integers(PROMPT // 2, PROMPT + 1, n, np.int32),
        )
        return cls(config, programs, prompts)

    def params(self) -> Params:
        """Return fresh parameters, which are the same on any devices."""
        return self.programs.init_params(jax.random.key(0))

    def sampler(self, params: Params, lanes: int = 0) -> Callable[[], Rollouts]:
        """Return a function that samples completions of all prompts, on the devices.

        Args:
          params: of the policy.
          lanes: of each shard; 0: all completions are decoded at once.
        """
        rollout = self.config.rollout
        sampler = self.programs.sampling.whole(rollout.sampling, rollout.group_size, rollout.noise, lanes)
        weights = self.programs.policy_weights(params)
        prompts = put(self.prompts, self.programs.shardings.batch)
        return lambda: sampler(weights, prompts, Counter.of(0, Stream.TRAINING, 1))

    def score(self, params: Params, rollouts: Rollouts) -> np.ndarray:
        """Return the trainer's log-probabilities of all tokens, [N, G, C]."""
        read = (rollouts.prompt_tokens, rollouts.prompt_lengths, rollouts.completion_tokens)
        scored = jax.jit(self.programs.policy.completion_logprobs)(params, *put(read, self.programs.shardings.batch))
        return np.asarray(fetch(scored))

    def minibatch(self) -> UpdateBatch:
        """Return a minibatch of full rows with random tokens, on the devices. One completion of each pair was right."""
        batch = abstract_inputs(self.programs, self.config, PROMPT).batch
        rng, vocabulary = np.random.default_rng(1), self.programs.policy.vocab_size
        values: dict[str, Any] = {
            "prompt_lengths": PROMPT,
            "completion_lengths": self.config.rollout.max_new_tokens,
            "advantages": [1, -1],
            "prompt_weights": 1,
            "sampler_logprobs": -math.log(vocabulary),
        }

        def filled(name: str, like: Any) -> np.ndarray:
            value = values[name] if name in values else rng.integers(1, vocabulary, like.shape)
            return np.broadcast_to(np.asarray(value, like.dtype), like.shape)

        likes = {each.name: getattr(batch.groups, each.name) for each in dataclasses.fields(Groups)}
        groups = Groups(**{name: None if like is None else filled(name, like) for name, like in likes.items()})
        # The first bucket is the widest.
        buckets = np.zeros(batch.filled.shape, batch.filled.dtype)
        buckets[0] = len(groups.prompt_lengths)
        made = dataclasses.replace(batch, groups=groups, filled=buckets, dropped_weight=np.float32(0))
        return put(made, jax.tree.map(lambda leaf: leaf.sharding, batch))


@dataclass(frozen=True)
class Machine:
    """The devices that are checked, and the form of the checks."""

    form: Form
    devices: Sequence[jax.Device] = field(default_factory=jax.devices)

    @property
    def one(self) -> Sequence[jax.Device]:
        return self.devices[:1]

    @property
    def cpu(self) -> Sequence[jax.Device]:
        return jax.devices("cpu")[:1]


DTYPES = {"float32": 1e-3, "bfloat16": 0.02}  # and the largest mean difference of log-probabilities


def parity(machine: Machine) -> Iterator[Row]:
    """Compare log-probabilities of one device with those of a CPU."""
    for dtype, limit in DTYPES.items():
        fields = machine.form.model | {"model.compute_dtype": dtype}
        here, there = Setting.of(fields, machine.one), Setting.of(fields, machine.cpu)
        params = jax.device_get(here.params())
        rollouts = fetch(here.sampler(put(params, here.programs.shardings.params))())
        scored = [each.score(put(params, each.programs.shardings.params), rollouts) for each in (here, there)]
        yield _difference(f"logits, {dtype}", "device and CPU", scored[0] - scored[1], rollouts, limit)


def sampler_and_trainer(machine: Machine) -> Iterator[Row]:
    """Compare the sampler's log-probabilities with the trainer's."""
    for dtype, limit in DTYPES.items():
        setting = Setting.of(machine.form.model | {"model.compute_dtype": dtype}, machine.one)
        params = setting.params()
        rollouts = fetch(setting.sampler(params)())
        differences = setting.score(params, rollouts) - rollouts.logprobs
        yield _difference(f"sampler, {dtype}", "sampler and trainer", differences, rollouts, limit)


def fused_attention(machine: Machine) -> Iterator[Row]:
    """Compare fused attention with plain attention: values and gradients."""
    length = machine.form.length
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(2, length, heads, 128) for heads in (4, 2, 2, 4)]
    *qkv, weights = (jax.random.normal(key, shape, jnp.bfloat16) for key, shape in zip(keys, shapes, strict=True))

    def weighted(attend: Any) -> Any:
        def total(*arrays: Any) -> Any:
            seen = attend(*arrays, Scoring(scale=128**-0.5, cap=0.0, window=None))
            return (seen * weights).astype(jnp.float32).sum(), seen

        (_, seen), gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))(*qkv)
        return jax.device_get((seen, gradients))

    plain, fused = (jax.tree.leaves(weighted(attend)) for attend in (causal, fused_causal(None)))
    errors = [_relative(a, b) for a, b in zip(fused, plain, strict=True)]
    platform = jax.default_backend()
    note = "" if platform in KERNELS else f"there is no kernel for {platform}: plain attention twice"
    yield Row("fused attention", f"fused and plain, values and gradients, {length} tokens", max(errors), 0.03, note)


def lanes(machine: Machine) -> Iterator[Row]:
    """Compare completions that are decoded in lanes with those that are decoded all at once."""
    setting = Setting.of(machine.form.model | {"model.compute_dtype": "float32"}, machine.one)
    params, number = setting.params(), setting.config.rollout.prompts_per_batch // 2
    in_lanes, at_once = (fetch(setting.sampler(params, each)()) for each in (number, 0))
    yield _other_completions("lanes", f"{number} lanes and all at once", in_lanes, at_once)


def shards(machine: Machine) -> Iterator[Row]:
    """Compare all devices with one of them, if there are several: completions, and an update."""
    if len(machine.devices) == 1:
        return
    fields = machine.form.model | {"model.compute_dtype": "float32"}
    many, one = Setting.of(fields, machine.devices), Setting.of(fields, machine.one)
    compared = f"{len(machine.devices)} devices and one"
    yield _other_completions(
        "shards, sampling", compared, *(fetch(each.sampler(each.params())()) for each in (many, one))
    )
    metrics = [
        fetch(each.programs.update(each.programs.init_state(each.params()), each.minibatch())[1])
        for each in (many, one)
    ]
    for name in (Measured.LOSS, Measured.GRADIENT_NORM):
        figures = [each[name].result() for each in metrics]
        yield Row(f"shards, {name}", compared, abs(figures[0] / figures[1] - 1), 1e-3, f"{figures[1]:.6g}")


def speed(machine: Machine) -> Iterator[Row]:
    """Measure sampling and an update on all devices, beside the plan's estimate if there is a compiler for it."""
    form = machine.form
    setting = Setting.of(form.timed, machine.devices)
    config, params = setting.config, setting.params()
    architecture = config.model.architecture
    assert architecture
    needed = model_flops(config, architecture, PROMPT)
    sample = setting.sampler(params)
    rollouts = fetch(sample())
    sampling = _seconds(sample, form.repetitions)
    tokens = float(rollouts.completion_lengths.sum())
    yield Row("sampling", "tokens a second", tokens / sampling, note=f"{sampling:.3g} s")
    state, batch = setting.programs.init_state(params), setting.minibatch()
    del params, sample  # and the copy of the weights

    def update() -> Any:
        nonlocal state
        state, metrics = setting.programs.update(state, batch)
        return metrics

    jax.block_until_ready(update())
    updating = _seconds(update, form.repetitions)
    flops = needed["update"] / updating
    yield Row("update", "TFLOP/s that the model needs", flops / 1e12, note=f"{updating:.3g} s")

    plan, reason = planned(form.timed | {"mesh.data": 1, "mesh.fsdp": len(machine.devices)}, machine.devices)
    if plan is None:
        yield Row("plan", "no plan to compare with", 0.0, note=reason)
        return
    yield Row("update", "MFU", flops / (plan.chip.flops * plan.chips), note=f"planned: {100 * plan.update_mfu:.0f} %")
    for name, seconds, program in (("sampling", sampling, plan.sample), ("update", updating, plan.update)):
        each = program.seconds / program.runs
        yield Row(name, "seconds, measured over planned", seconds / each, note=f"planned: {each:.3g} s")


# A chip of a plan, and a pattern in the name of such a device. A v5p is called "TPU v5p" or "TPU v5".
KINDS = {"v5e": "v5( lite|e)", "v5p": "v5p?$", "v6e": "v6( lite|e)", "a100": "A100", "h100": "H100", "h200": "H200"}


def topology_of(devices: Sequence[jax.Device]) -> str | None:
    """Return these devices as `grpo plan` names them; None if it has no such chips."""
    name = next((name for name, part in KINDS.items() if re.search(part, devices[0].device_kind)), None)
    if name is None:
        return None
    if devices[0].platform != "tpu":
        return f"{name}:{len(devices)}"
    sizes = np.max([device.coords for device in devices], axis=0) + 1
    return f"{name}:{'x'.join(str(size) for size in (sizes[:2] if name != 'v5p' else sizes))}"


def planned(fields: Fields, devices: Sequence[jax.Device]) -> tuple[Plan | None, str]:
    """Return the plan of a model on these devices, or the reason why there is none."""
    topology = topology_of(devices)
    if topology is None:
        return None, f"plans know no {devices[0].device_kind}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        flags = [f"--topology={topology}", f"--prompt-tokens={PROMPT}", f"--json={path}"]
        done = _run([*argv_prefix("plan"), f"--config={DEMO}", *_flags(fields), *flags])
        if not path.exists():
            return None, _last_line(done)
        return Plan.from_json(json.loads(path.read_text())), ""


def demo(form: Form, folder: Path) -> Iterator[Row]:
    """Train the demo."""
    run = folder / "demo"
    done = _run([*argv_prefix("train"), f"--config={DEMO}", f"--workdir={run}", *_flags(form.demo)])
    summary = RunDirectory(run).summary()
    if done.returncode or summary is None:
        yield Row("demo", "trained", math.nan, note=_last_line(done))
        return
    first, last = summary.base.pass_at_1.value, summary.final.pass_at_1.value
    seconds = summary.seconds["total"]
    yield Row(
        "demo", "share of wrong answers after RL", 1 - last, form.wrong, f"{1 - first:.3f} before; {seconds:.0f} s"
    )


def kill_and_resume(form: Form, folder: Path) -> Iterator[Row]:
    """Kill a run, continue it, and compare it with an undisturbed run."""
    tool = str(Path(__file__).with_name("kill_and_resume.py"))
    done = _run([sys.executable, tool, f"--config={DEMO}", f"--kills={form.kills}", *_flags(form.killed)])
    compared = f"undisturbed and killed {form.kills} times; 0: state and metrics are equal bit for bit"
    yield Row("kill and resume", compared, float(done.returncode), 0.0, _last_line(done))


# These start processes that compute on the devices, so they come before this process does: a TPU serves one process.
PROCESSES: Sequence[Callable[[Form, Path], Iterator[Row]]] = (demo, kill_and_resume)
CHECKS: Sequence[Callable[[Machine], Iterator[Row]]] = (
    parity,
    sampler_and_trainer,
    fused_attention,
    lanes,
    shards,
    speed,
)


def rows_of(check: Callable[..., Iterator[Row]], *arguments: object) -> Iterator[Row]:
    """Yield the rows of a check, and one that failed if the check raises an error."""
    try:
        yield from check(*arguments)
    except Exception as error:  # of any kind: the other checks go on
        told = f"{type(error).__name__}: {str(error)[:300]}".replace("\n", " ")
        yield Row(check.__name__.replace("_", " "), "ended with an error", math.nan, note=told)


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, metavar="PATH", help="of the page and the JSON, without .md")
    to = parser.parse_args(argv).to
    to.parent.mkdir(parents=True, exist_ok=True)
    began, rows = time.monotonic(), []
    form = SHORT if _default_platform() == "cpu" else FULL

    def report(found: Iterator[Row]) -> None:
        for row in found:
            print(f"{'passed' if row.passed else 'FAILED'}  {row.name}: {row.compared}: {row.figure:.4g}  {row.note}")
            rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        for process in PROCESSES:
            report(rows_of(process, form, Path(folder)))
    machine = Machine(form)
    start = this_start(machine.devices)
    for check in CHECKS:
        report(rows_of(check, machine))
    made = Report(form.name, start, time.monotonic() - began, rows)
    # Not with_suffix: a name may contain a dot.
    to.with_name(f"{to.name}.md").write_text(made.page())
    to.with_name(f"{to.name}.json").write_text(json.dumps(made.to_json(), indent=1) + "\n")
    return 0 if all(row.passed for row in rows) else 1


def _default_platform() -> str:
    """Return the platform on which JAX computes, without taking its devices."""
    done = _run([sys.executable, "-c", "import jax; print(jax.default_backend())"])
    if done.returncode:
        sys.exit(f"JAX finds no devices: {_last_line(done)}")
    return done.stdout.split()[-1]


def _difference(name: str, compared: str, differences: np.ndarray, rollouts: Rollouts, limit: float) -> Row:
    counted = np.arange(differences.shape[-1]) < rollouts.completion_lengths[..., None]
    sizes = np.abs(differences)[counted]
    note = f"{sizes.size} tokens; the largest is {sizes.max():.2g}"
    return Row(name, f"{compared}, mean difference of log-probabilities", float(sizes.mean()), limit, note)


def _other_completions(name: str, compared: str, found: Rollouts, expected: Rollouts) -> Row:
    """Return the share of completions that differ: rounding changes some tokens in a million."""
    other = (found.completion_tokens != expected.completion_tokens).any(axis=-1)
    return Row(name, f"{compared}, share of other completions", float(other.mean()), 0.02, f"{other.size} completions")


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    found, expected = (np.asarray(each, np.float32) for each in (found, expected))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _seconds(run: Callable[[], Any], repetitions: int) -> float:
    """Return the median of the times of a function that was called before."""
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _flags(fields: Fields) -> list[str]:
    return [f"--config.{name}={value}" for name, value in fields.items()]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of what a process said: of its results, or of its errors if it failed."""
    lines = (done.stdout + done.stderr if done.returncode else done.stdout).strip().splitlines()
    return lines[-1].strip()[:300] if lines else f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
