"""Imports point down: each package may use only those on lower floors."""

import ast
import builtins
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "grpo_jax"
PROJECT = PACKAGE / "commands" / "project"  # what `grpo init` writes is a user's code

# From the ground up. Packages on the same floor may not use each other.
FLOORS = (
    {"types", "config", "json_requests", "processes", "randomness"},
    {"files", "hub", "json_record", "suites", "terminal", "sharding", "objectives", "rewards"},
    {"policy", "data", "joining"},
    {"sampling", "runs"},
    {"evaluation", "mirror", "program_cache", "tracking"},
    {"training"},
    {"studies", "planning", "analysis"},
    {"reporting", "doctor"},
    {"commands"},
    {"__main__"},
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "grpo_jax":
            yield from (f"grpo_jax.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules():
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "__init__" and path.parent != PROJECT:
            yield path, parts[0]


def test_imports_point_down():
    for path, room in modules():
        for module in imports(path):
            if module.startswith("grpo_jax."):
                other = module.split(".")[1]
                assert other == room or FLOOR[other] < FLOOR[room], f"{path.name} of {room} imports {module}"


def test_objectives_know_jax_and_nothing_else():
    standard = {"collections", "dataclasses", "functools", "inspect", "typing"}
    allowed = {"jax", "jaxtyping", "grpo_jax"} | standard
    for path, room in modules():
        if room == "objectives":
            assert {module.split(".")[0] for module in imports(path)} <= allowed, path.name


def test_only_the_loader_knows_ml_collections_and_only_the_policy_knows_flax():
    for path, room in modules():
        found = {module.split(".")[0] for module in imports(path)}
        assert "ml_collections" not in found or path == PACKAGE / "config" / "loading.py"
        assert "flax" not in found or room == "policy"


def test_texts_are_in_utf_8_whatever_the_locale():
    """The files of a run must not depend on the environment in which it is started."""
    unsaid = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            ours = called in ("os.open", "run.write_text", "self.write_text")  # without a mode, or by files.py
            modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            binary = name == "open" and any(isinstance(mode, str) and "b" in mode for mode in modes)
            if name in ("open", "read_text", "write_text") and not ours and not binary:
                unsaid += [f"{path.name}:{node.lineno}"] * all(one.arg != "encoding" for one in node.keywords)
    assert unsaid == []


def test_only_the_terminal_makes_consoles():
    """Rich's own consoles read `x[/b]`, the name of a directory, as markup."""
    scripts = (path for place in ("launch", "tools") for path in (PACKAGE.parent / place).glob("*.py"))
    for path in [*PACKAGE.rglob("*.py"), *scripts]:
        imported = {
            f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert path == PACKAGE / "terminal.py" or not imported & {"rich.console", "rich.console.Console", "rich.print"}


def test_errors_have_names_of_their_own():
    """Whoever reads `except NAME` knows which error it is."""
    known = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    names = Counter(
        node.name
        for path, _ in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and known & {ast.unparse(base) for base in node.bases}
    )
    assert names["ConfigError"] == 1
    assert [name for name, number in names.items() if number > 1] == []
