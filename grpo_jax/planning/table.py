"""A plan as tables: for the terminal, and one line of Markdown for the table of the docs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from grpo_jax.planning.plan import Memory, Plan, ProgramPlan

GIB = 2**30

MARKDOWN_HEAD = (
    "| model | group | slice | data x fsdp x tensor | fits | peak GiB: update, sample | update MFU | "
    "seconds a step: update, sample | chip-hours a step |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def show(plan: Plan, advice: Sequence[str], console: Console) -> None:
    """Prints a plan, and what to change."""
    size = f"{plan.parameters / 1e9:.2f}B parameters on {plan.chips} {plan.chip.name} chips ({plan.topology})"
    console.print(Group(_memory(plan, size), _costs(plan), _collectives(plan)))
    mfu, step = plan.update.mfu(plan.chip), plan.step_seconds
    console.print(f"Update: estimated MFU {mfu:.0%}. Step: {step:,.0f} s, {plan.step_chip_hours:.2f} chip-hours.")
    console.print("Fits." if plan.fits else "Does not fit. Change " + "; or ".join(advice) + ".", markup=False)


def _memory(plan: Plan, title: str) -> Table:
    table = _table(f"{title}: GiB of HBM on each", "", "update", "sample")
    names = {
        "params": "parameters",
        "optimizer": "optimizer",
        "waiting": "training state, waiting",
        "cache": "keys and values",
        "activations": "activations and the rest",
        "peak": "peak",
    }

    def gib(memory: Memory, field: str) -> str:
        return f"{getattr(memory, field) / GIB:.2f}"

    for field, name in names.items():
        table.add_row(name, gib(plan.update.memory, field), gib(plan.sample.memory, field))
    has = f"{(plan.chip.hbm - plan.chip.reserved) / GIB:.2f}"
    table.add_row("of", has, has)
    return table


def _costs(plan: Plan) -> Table:
    table = _table("One run of each program, on each chip", "", "update", "sample")
    rows: dict[str, Callable[[ProgramPlan], str]] = {
        "runs a step": lambda p: f"{p.runs}",
        "TFLOP of matrix products": lambda p: f"{p.costs.flops / 1e12:,.1f}",
        "TFLOP in attention kernels": lambda p: f"{p.costs.kernel_flops / 1e12:,.1f}",
        "TFLOP the model needs": lambda p: f"{p.model_flops / 1e12:,.1f}",
        "done over needed": lambda p: f"{(p.costs.flops + p.costs.kernel_flops) / p.model_flops:.2f}",
        "loops once, over cost_analysis": lambda p: f"{p.costs.flops_once / p.compiler_flops:.3f}",
        "GB accessed, loops once (cost_analysis)": lambda p: f"{p.compiler_bytes / 1e9:,.1f}",
        "s computing, by the compiler's cycles": lambda p: f"{p.costs.compute_seconds:.2f}",
        "s in attention kernels, assumed": lambda p: f"{p.costs.kernel_seconds:.2f}",
        "s of collectives that nothing hides": lambda p: f"{p.costs.exposed_seconds:.2f}",
        "s together": lambda p: f"{p.costs.seconds:.2f}",
        "s a step": lambda p: f"{p.seconds:.1f}",
    }
    for name, text in rows.items():
        table.add_row(name, text(plan.update), text(plan.sample))
    return table


def _collectives(plan: Plan) -> Table:
    table = _table("GB in collectives in one run, by kind", "", "update", "sample")

    def sent(program: ProgramPlan, kind: str) -> str:
        return f"{program.costs.collective_bytes.get(kind, 0) / 1e9:,.1f}"

    for kind in sorted({*plan.update.costs.collective_bytes, *plan.sample.costs.collective_bytes}):
        table.add_row(kind, sent(plan.update, kind), sent(plan.sample, kind))
    return table


def markdown_row(name: str, group: int, mesh: str, plan: Mapping[str, Any]) -> str:
    """A line under MARKDOWN_HEAD, of what --json wrote."""
    update, sample = plan["update"], plan["sample"]
    peaks = f"{update['memory']['peak'] / GIB:.1f}, {sample['memory']['peak'] / GIB:.1f}"
    seconds = f"{update['seconds']:,.0f}, {sample['seconds']:,.0f}"
    cells = (
        name,
        f"{group}",
        plan["topology"],
        mesh,
        "yes" if plan["fits"] else "no",
        f"{peaks} of {plan['chip']['hbm'] / GIB:.0f}",
        f"{plan['update_mfu']:.0%}",
        seconds,
        f"{plan['step_chip_hours']:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
