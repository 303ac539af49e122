"""A plan as tables for the terminal, and as a line of Markdown for the table in the docs."""

from collections.abc import Callable, Sequence

from rich.console import Group
from rich.table import Table

from grpo_jax.config import counted
from grpo_jax.planning.plan import Plan, ProgramPlan
from grpo_jax.terminal import PlainConsole

GIB = 2**30

HOW_TIMED = {"tpu": "by the compiler's cycles", "gpu": "at least: the roofline"}  # by the chip's platform

MARKDOWN_HEAD = (
    "| model | group | topology | data x fsdp x tensor | fits | peak GiB: update, score, sample | update MFU | "
    "seconds a step: update, score, sample | chip-hours a step |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def show(plan: Plan, advice: Sequence[str], console: PlainConsole) -> None:
    """Print a plan, and what to change if it does not fit."""
    size = f"{plan.parameters / 1e9:.2f}B parameters on {plan.chips} x {plan.chip.name} ({plan.topology})"
    if plan.lanes:
        console.print(f"Sampling: {counted(plan.lanes, 'completion')} at once in each of the shards of a batch.")
    if plan.drafts:
        console.print(
            f"Drafts: a decode step reads {plan.drafts + 1} rows for each completion. None is assumed to be right; "
            f"if a share s of them is, the steps are fewer by the factor 1 + {plan.drafts} s. A plan with "
            "rollout.speculation=0 shows from which share on they pay."
        )
    console.print(Group(_memory(plan, size), _costs(plan), _collectives(plan)))
    step = f"{plan.step_seconds:,.0f} s, {plan.step_chip_hours:.2f} chip-hours"
    console.print(
        f"Update: estimated MFU {100 * plan.update_mfu:.0f} %. Step: {step}. Time is {HOW_TIMED[plan.chip.platform]}."
    )
    console.print("Fits." if plan.fits else "Does not fit. Change " + "; or ".join(advice) + ".")


def _memory(plan: Plan, title: str) -> Table:
    table = _table(f"{title}: GiB of HBM on each", plan)
    names = {
        "params": "parameters",
        "optimizer": "optimizer",
        "waiting": "unused: reference, training state",
        "cache": "keys and values",
        "activations": "activations and the rest",
        "peak": "peak",
    }

    for field, name in names.items():
        table.add_row(name, *(f"{getattr(p.memory, field) / GIB:.2f}" for p in plan.programs.values()))
    has = f"{(plan.chip.hbm - plan.chip.reserved) / GIB:.2f}"
    table.add_row("available", *[has] * len(plan.programs))
    return table


def _costs(plan: Plan) -> Table:
    table = _table("One run of each program, on each chip", plan)
    rows: dict[str, Callable[[ProgramPlan], str]] = {
        "runs per step": lambda p: f"{p.runs}",
        "TFLOP of matrix products": lambda p: f"{p.costs.flops / 1e12:,.1f}",
        "TFLOP in attention kernels": lambda p: f"{p.costs.kernel_flops / 1e12:,.1f}",
        "TFLOP that the model needs": lambda p: f"{p.model_flops / 1e12:,.1f}",
        "executed over needed": lambda p: f"{(p.costs.flops + p.costs.kernel_flops) / p.model_flops:.2f}",
        "counted once, over cost_analysis": lambda p: (
            f"{p.costs.flops_once / p.analysis.flops:.3f}" if p.analysis else "-"
        ),
        "GB accessed, loops once (cost_analysis)": lambda p: f"{p.analysis.bytes / 1e9:,.1f}" if p.analysis else "-",
        f"s of compute, {HOW_TIMED[plan.chip.platform]}": lambda p: f"{p.costs.compute_seconds:.2f}",
        "s in attention kernels, assumed": lambda p: f"{p.costs.kernel_seconds:.2f}",
        "s of exposed collectives": lambda p: f"{p.costs.exposed_seconds:.2f}",
        "s in total": lambda p: f"{p.costs.seconds:.2f}",
        "s per step": lambda p: f"{p.seconds:.1f}",
    }
    for name, text in rows.items():
        table.add_row(name, *map(text, plan.programs.values()))
    return table


def _collectives(plan: Plan) -> Table:
    table = _table("GB in collectives in one run, by kind", plan)
    sent = [program.costs.collective_bytes for program in plan.programs.values()]
    for kind in sorted({kind for of_program in sent for kind in of_program}):
        table.add_row(kind, *(f"{of_program.get(kind, 0) / 1e9:,.1f}" for of_program in sent))
    return table


def markdown_row(name: str, group: int, mesh: str, plan: Plan) -> str:
    """Return a line for the table under MARKDOWN_HEAD."""
    programs = (plan.update, plan.score, plan.sample)
    peaks = ", ".join(f"{p.memory.peak / GIB:.1f}" if p else "-" for p in programs)
    seconds = ", ".join(f"{p.seconds:,.0f}" if p else "-" for p in programs)
    cells = (
        name,
        f"{group}",
        plan.topology,
        mesh,
        "yes" if plan.fits else "no",
        f"{peaks} of {plan.chip.hbm / GIB:.0f}",
        f"{100 * plan.update_mfu:.0f} %",
        seconds,
        f"{plan.step_chip_hours:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _table(title: str, plan: Plan) -> Table:
    """Return a table with a column for each program."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for program in plan.programs:
        table.add_column(program, justify="right")
    return table
