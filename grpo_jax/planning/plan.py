"""A plan: the programs of a configuration, compiled for TPUs or GPUs, with the memory and time they need there."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax

from grpo_jax.config import ArchitectureConfig, Config, ConfigError
from grpo_jax.json_record import JsonRecord
from grpo_jax.planning import hlo
from grpo_jax.planning.chips import COMPILERS, Chip, find
from grpo_jax.planning.costs import Costs, measure
from grpo_jax.planning.memory import Memory, sample_memory, score_memory, update_memory
from grpo_jax.policy import Policy
from grpo_jax.sampling import full_length_steps
from grpo_jax.sharding import batch_shards, make_mesh
from grpo_jax.training.abstract_inputs import abstract_inputs, scored, scores_per_minibatch
from grpo_jax.training.experiment import check_batches
from grpo_jax.training.programs import make_programs


@dataclass(frozen=True)
class CostAnalysis(JsonRecord):
    """The result of `cost_analysis` for a program on one chip. It counts every loop once."""

    flops: float
    bytes: float  # that operations read and write
    seconds: float  # optimal_seconds, which may be negative


@dataclass(frozen=True)
class ProgramPlan(JsonRecord):
    """One compiled program."""

    runs: int  # per step
    memory: Memory
    costs: Costs
    analysis: CostAnalysis | None  # None: the compiler offers none, as for GPUs
    model_flops: float  # that the model needs on one chip, without recomputation
    seconds: float  # of all runs of a step

    def mfu(self, chip: Chip) -> float:
        """Return the model flops utilisation (arXiv 2204.02311): needed operations over those possible in the time."""
        return self.runs * self.model_flops / (self.seconds * chip.flops)


@dataclass(frozen=True)
class Plan(JsonRecord):
    """The plan of a configuration on TPUs or GPUs."""

    topology: str
    chip: Chip
    chips: int
    lanes: int  # in which each shard of a batch decodes; 0: a lane for each group
    parameters: int  # trained and frozen
    sample: ProgramPlan
    score: ProgramPlan | None  # None: the objective needs no log-probabilities but the sampler's
    update: ProgramPlan
    drafts: int = 0  # that the policy reads after each newest token

    @property
    def programs(self) -> dict[str, ProgramPlan]:
        """The programs that a step runs, by their names."""
        named = {"update": self.update, "score": self.score, "sample": self.sample}
        return {name: program for name, program in named.items() if program}

    @property
    def too_large(self) -> list[str]:
        """The names of the programs that do not fit."""
        return [name for name, program in self.programs.items() if not program.memory.fits(self.chip)]

    @property
    def fits(self) -> bool:
        return not self.too_large

    @property
    def step_seconds(self) -> float:
        return sum(program.seconds for program in self.programs.values())

    @property
    def step_chip_hours(self) -> float:
        return self.step_seconds * self.chips / 3600

    @property
    def update_mfu(self) -> float:
        return self.update.mfu(self.chip)

    def to_json(self) -> dict[str, Any]:
        """Return all numbers of the plan, and those that follow from them."""
        return {**super().to_json(), **{name: getattr(self, name) for name in DERIVED}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the plan that these values hold."""
        return super().from_json({name: value for name, value in values.items() if name not in DERIVED})


DERIVED = ("fits", "step_seconds", "step_chip_hours", "update_mfu")  # properties of a plan that its JSON repeats


def make_plan(config: Config, topology: str, architecture: ArchitectureConfig, prompt_tokens: int) -> Plan:
    """Compile the programs that a step of a configuration runs, and return their plan.

    Args:
      config: of the run.
      topology: such as "v5e:8x8" or "h100:8".
      architecture: of the model. Its vocab_size must not be 0.
      prompt_tokens: P.

    Raises:
      ConfigError: if the slice, the mesh and the batches do not fit together.
      DoesNotFit: if the compiler rejects a program.
    """
    chip, devices = find(topology)
    if config.mesh.rollout_share:
        raise ConfigError(
            f"mesh.rollout_share={config.mesh.rollout_share:g}: is not planned; plan each part as a slice of its own, "
            "with a share of 0."
        )
    mesh = make_mesh(config.mesh, devices)
    check_batches(config, batch_shards(mesh))
    programs = make_programs(config, mesh, Policy(architecture, config.model, mesh), stop_tokens=(0,))
    inputs = abstract_inputs(programs, config, prompt_tokens)
    batch, options = inputs.batch, COMPILERS[chip.platform].options
    update = _compile("update", programs.update.lower(inputs.state, scored(batch, config)), options)  # type: ignore[attr-defined]
    rollout = config.rollout
    sampling = programs.sampling
    lanes = sampling.lanes(rollout.prompts_per_step, rollout.prompts_per_batch, rollout.group_size, prompt_tokens)
    sampler = sampling.whole(rollout.sampling, rollout.group_size, rollout.noise, lanes)
    sample = _compile("sample", sampler.lower(inputs.weights, inputs.prompts, inputs.counter, *inputs.earlier), options)  # type: ignore[attr-defined]
    # The first loop is that of the widest bucket. Rows of full length leave nothing to the others.
    full_width = (hlo.DataLoop(len(batch.groups.prompt_lengths)), hlo.DataLoop(0))
    work, n = model_flops(config, architecture, prompt_tokens), len(devices)
    score_plan = None
    if scores := scores_per_minibatch(config):
        score = _compile("score", programs.logprobs.lower(inputs.state.params, batch), options)  # type: ignore[attr-defined]
        score_plan = _program_plan(
            score,
            chip,
            runs=scores * config.train.minibatches,
            dynamic=full_width,
            model_flops=work["score"] / n,
            memory=score_memory(peak_bytes(score), inputs, config),
        )
    return Plan(
        topology=topology,
        chip=chip,
        chips=n,
        lanes=lanes,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(inputs.state.params)),
        sample=_program_plan(
            sample,
            chip,
            runs=config.rollout.prompts_per_step // config.rollout.prompts_per_batch,
            dynamic=_decode_loops(config, batch_shards(mesh), lanes),
            model_flops=work["sample"] / n,
            memory=sample_memory(peak_bytes(sample), inputs, config, architecture, lanes),
        ),
        score=score_plan,
        update=_program_plan(
            update,
            chip,
            runs=config.train.minibatches,
            dynamic=full_width,
            model_flops=work["update"] / n,
            memory=update_memory(peak_bytes(update), inputs, config),
        ),
        drafts=rollout.speculation,
    )


def model_flops(config: Config, architecture: ArchitectureConfig, prompt_tokens: int) -> dict[str, float]:
    """Return the operations that one run of each program needs on all chips together, for rows of full length.

    A forward pass needs 2 for each token and each parameter of the layers that the token meets, 2 V D for each token
    whose logits are needed, and 4 x layers x heads x head_dim for each pair of tokens of which one attends to the
    other. The prompt of a group is needed once. Scoring is one forward pass, and an update costs three (arXiv
    2001.08361, 2204.02311).
    Recomputation does not count.
    """
    a, r = architecture, config.rollout
    mlps = (a.experts_per_token * 3 * a.mlp_dim + a.num_experts) if a.num_experts else 3 * a.mlp_dim
    kernels = a.embed_dim * (a.head_dim * 2 * (a.num_heads + a.num_kv_heads) + mlps)
    layers, head, pair = a.num_layers * kernels, a.vocab_size * a.embed_dim, a.num_layers * a.num_heads * a.head_dim
    c, row = r.max_new_tokens, prompt_tokens + r.max_new_tokens
    groups = r.prompts_per_step // config.train.minibatches

    def forward(tokens: int, predicted: int, pairs: float) -> float:
        return 2.0 * layers * tokens + 2.0 * head * predicted + 4.0 * pair * pairs

    prefill = forward(prompt_tokens, 1, prompt_tokens**2 / 2)
    decode = forward(c - 1, c - 1, (row**2 - prompt_tokens**2) / 2)
    group = prefill + r.group_size * decode
    return {"update": 3 * groups * group, "score": groups * group, "sample": r.prompts_per_batch * group}


def advice(config: Config, too_large: Collection[str]) -> list[str]:
    """Return what to change so that these programs fit, the most promising change first."""
    changes = []
    if not {"update", "score"}.isdisjoint(too_large):
        if config.model.attention == "plain":
            changes.append("model.attention to 'fused', which does not store attention scores")
        if config.model.remat != "full" and "update" in too_large:
            changes.append("model.remat to 'full', which stores one activation per layer")
        if config.train.logprob_chunk == 0:
            changes.append("train.logprob_chunk to 256, so that not all logits are in memory at once")
        if config.train.microbatch_groups > 1:
            changes.append(f"train.microbatch_groups to less than {config.train.microbatch_groups}")
        changes.append("mesh.fsdp to more on a larger slice, which splits parameters and moments further")
    if "sample" in too_large:
        if config.rollout.prompts_per_batch > 1:
            changes.append(
                f"rollout.prompts_per_batch to less than {config.rollout.prompts_per_batch}, for a smaller cache"
            )
        changes.append(f"mesh.tensor to more than {config.mesh.tensor}, which splits the sampler's weights")
        if config.rollout.quantization == "none":
            changes.append("rollout.quantization to 'int8', with importance weights, for smaller weights in it")
    return changes


class DoesNotFit(Exception):
    """The compiler rejected a program because it needs more memory than a chip has."""

    def __init__(self, program: str, needs: str):
        super().__init__(f"The program '{program}' does not fit: {needs}")
        self.program = program


def _decode_loops(config: Config, shards: int, lanes: int) -> Sequence[hlo.DataLoop]:
    """Return the sampler's loops for completions of full length: none is left to the narrower loops.

    No draft is right, so the steps are as many as without drafts.
    """
    r = config.rollout
    steps, refills = full_length_steps(
        lanes,
        prompts=r.prompts_per_batch // shards,
        group_size=r.group_size,
        room=r.max_new_tokens,
        drafts=r.speculation,
    )
    return hlo.DataLoop(steps, (hlo.DataLoop(refills),)), hlo.DataLoop(0)


def _compile(name: str, lowered: Any, options: Mapping[str, Any]) -> Any:
    try:
        return lowered.compile(compiler_options=dict(options))
    except jax.errors.JaxRuntimeError as error:
        used = re.search(r"Used \S+ of \S+ hbm\. Exceeded hbm capacity by \S+[^.\s]", str(error))
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(name, used[0] if used else str(error)[:300]) from error


def _program_plan(
    compiled: Any, chip: Chip, runs: int, dynamic: Sequence[hlo.DataLoop], model_flops: float, memory: Memory
) -> ProgramPlan:
    try:
        text = compiled.as_text()
    except jax.errors.JaxRuntimeError as error:  # jaxlib 0.10.2, some programs for v6e: a check on async-update fails
        raise ConfigError(
            f"a program compiles, with a peak of {memory.peak / 2**30:.1f} GiB, but this jaxlib cannot print it "
            f"({str(error).splitlines()[0][:120]}), so its time is unknown; try another mesh or another jaxlib."
        ) from error
    costs = measure(hlo.parse(text), chip, dynamic)
    found = compiled.cost_analysis()
    names = ("flops", "bytes accessed", "optimal_seconds")
    return ProgramPlan(
        runs=runs,
        memory=memory,
        costs=costs,
        analysis=CostAnalysis(*(found[name] for name in names)) if found else None,
        model_flops=model_flops,
        seconds=runs * costs.seconds,
    )


def peak_bytes(compiled: Any) -> int:
    """Return the peak memory of a compiled program on one device, with its arguments and results."""
    memory = compiled.memory_analysis()
    arguments = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return arguments + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
