"""Plan the paper's three models on slices of v5e, v5p and v6e and on H100s, and write the tables of docs/plan.md.

    python tools/plan_table.py [--directory=runs/plans]

Each plan is a process of launch/plan.py and takes minutes. Plans whose JSON is in the directory are not made again, and
a table of whose plans none is there stays as it is.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_jax.planning.chips import CHIPS
from grpo_jax.planning.plan import Plan
from grpo_jax.planning.table import MARKDOWN_HEAD, markdown_row

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "plan.md"
BEGINNINGS = {platform: f"<!-- table: tools/plan_table.py, {platform} -->" for platform in ("tpu", "gpu")}
END = "<!-- end of table -->"


@dataclass(frozen=True)
class Cell:
    """One plan: a model on a slice."""

    model: str
    topology: str
    group: int
    overrides: Mapping[str, int]

    @property
    def platform(self) -> str:
        return CHIPS[self.topology.split(":")[0]].platform

    @property
    def name(self) -> str:
        return f"{self.model}_{self.group}grpo_{self.topology.replace(':', '_')}"

    def command(self, to: str) -> list[str]:
        fields = [f"--config.{field}={value}" for field, value in self.overrides.items()]
        config = f"--config=configs/paper/{self.model}_{self.group}grpo.py"
        return ["launch/plan.py", config, f"--topology={self.topology}", *fields, f"--json={to}"]


# model -> topology -> (fsdp, tensor, rows of a micro-batch, prompts per sampling batch for pairs, and for 16-GRPO)
SLICES = {
    "qwen2_5_math_7b": {
        "v5e:8x8": (32, 2, 128, 256, 64),
        "v6e:4x4": (16, 1, 64, 64, 16),
        "v5p:2x2x4": (16, 1, 128, 256, 64),
        "h100:8": (8, 1, 64, 256, 64),
    },
    "qwen2_5_math_1_5b": {
        "v5e:4x4": (16, 1, 64, 256, 32),
        "v6e:2x4": (8, 1, 64, 256, 64),
        "v5p:2x2x2": (8, 1, 64, 512, 64),
        "h100:8": (8, 1, 64, 512, 64),
    },
    "deepseek_r1_distill_qwen_1_5b": {
        "v5e:4x4": (16, 1, 32, 128, 16),
        "v6e:2x4": (8, 1, 32, 128, 32),
        "v5p:2x2x2": (8, 1, 32, 256, 64),
        "h100:8": (8, 1, 32, 256, 64),
    },
}


def cells() -> Iterator[Cell]:
    """Yield all plans, with the first topology of every model first."""
    for place in range(4):
        for model, slices in SLICES.items():
            topology, (fsdp, tensor, rows, pairs, sixteens) = list(slices.items())[place]
            for group, prompts in ((2, pairs), (16, sixteens)):
                overrides = {
                    "mesh.fsdp": fsdp,
                    "mesh.tensor": tensor,
                    "train.microbatch_groups": rows // group,
                    "rollout.prompts_per_batch": prompts,
                }
                yield Cell(model, topology, group, overrides)


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code, which is 1 if a plan could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--directory", type=Path, default=Path("runs/plans"), metavar="DIR", help="a directory for the plans' JSON"
    )
    arguments = parser.parse_args(argv)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    missing = 0
    for cell in cells():
        path = arguments.directory / f"{cell.name}.json"
        if not path.exists():
            command = [sys.executable, *cell.command(str(path.resolve()))]
            log = path.with_suffix(".log").open("w")
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
        missing += not path.exists()
        write(arguments.directory)
    return 1 if missing else 0


def write(directory: Path) -> None:
    """Write all plans in the directory into the tables of their platforms on the page, with their commands."""
    for platform, begin in BEGINNINGS.items():
        done = [cell for cell in cells() if cell.platform == platform and (directory / f"{cell.name}.json").exists()]
        if not done:
            continue
        rows = [MARKDOWN_HEAD, *(_row(cell, directory) for cell in done)]
        commands = ["python " + " ".join(cell.command(f"{cell.name}.json")) for cell in done]
        before, rest = PAGE.read_text().split(begin)
        _, after = rest.split(END, 1)
        body = "\n".join([*rows, "", "```", *commands, "```"])
        PAGE.write_text(f"{before}{begin}\n{body}\n{END}{after}")


def _row(cell: Cell, directory: Path) -> str:
    plan = Plan.from_json(json.loads((directory / f"{cell.name}.json").read_text()))
    data = plan.chips // (cell.overrides["mesh.fsdp"] * cell.overrides["mesh.tensor"])
    mesh = f"{data} x {cell.overrides['mesh.fsdp']} x {cell.overrides['mesh.tensor']}"
    return markdown_row(cell.model, cell.group, mesh, plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
