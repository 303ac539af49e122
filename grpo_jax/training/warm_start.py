"""The warm start: supervised learning makes a base policy from scratch, once per recipe.

It learns full solutions first, then solutions that leave lines out. So the policy knows how to compute but seldom does,
which reinforcement can change. The result is cached by a hash of the recipe and copied into the run directory. A run
that is killed in the middle continues from its last checkpoint, bit for bit.
"""

import platform
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array
from safetensors import SafetensorError

from grpo_jax.config import Config, ConfigError, OwnTaskConfig, WarmStartConfig, digest, source_digests, to_dict
from grpo_jax.data import Demonstrable, Task
from grpo_jax.files import user_cache
from grpo_jax.policy import load_params, save_params
from grpo_jax.processes import arrays_of_first, fetch, of_first, put
from grpo_jax.randomness import base_policy_key
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.directory import BASE_POLICY, RunDirectory
from grpo_jax.runs.ending import Interrupted, StopRequest
from grpo_jax.runs.lines import Stage, WarmStartLine
from grpo_jax.runs.program import modules_behind, program_digest
from grpo_jax.runs.versions import cores, versions
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.programs import make_init_state, state_shardings
from grpo_jax.training.supervised import (
    Batch,
    demonstrations,
    digest_demonstrations,
    make_optimizer,
    make_supervised_update,
)
from grpo_jax.types import Params


def recipe(experiment: Experiment, taught: str) -> dict[str, Any]:
    """Return everything that determines the base policy, bit for bit.

    Args:
      taught: see `digest_demonstrations`.
    """
    config, task = experiment.config, experiment.task
    values = to_dict(config)
    settings = {k: v for k, v in values["warm_start"].items() if k not in ("cache_dir", "checkpoint_every")}
    section = {k: v for k, v in values["task"].items() if k not in ("right", "credit") and not k.endswith("_problems")}
    own = source_digests(config.task.factory if isinstance(config.task, OwnTaskConfig) else type(task).__module__)
    return {
        "task": section,
        "model": {k: v for k, v in values["model"].items() if k != "lora"},  # adapters come after it
        "max_new_tokens": config.rollout.max_new_tokens,
        "warm_start": settings,
        "mesh": dict(experiment.programs.mesh.shape),
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "cores": cores() if jax.devices()[0].platform == "cpu" else 0,
        "versions": versions(),
        "code": program_digest(deciding_modules(task, own)),
        "taught": taught,
        "own_code": own,
    }


def deciding_modules(task: Task, own: Iterable[str] = ()) -> set[str]:
    """Return the names of the modules whose code determines the base policy.

    These are the modules behind the supervised update and the task, and this module, which calls them. Its other
    imports only build, store and log. The schema is left out, because the recipe has the values of its fields.

    Args:
      own: the user's own modules that the task consists of.
    """
    behind = modules_behind(make_supervised_update.__module__, type(task).__module__, *own)
    return {__name__, *behind} - {Config.__module__}


def finished_warm_start(experiment: Experiment, workdir: Path) -> Params:
    """Return the base policy's parameters on the mesh, from the directory of a run that has made them.

    Raises:
      FileNotFoundError: if the directory does not hold them.
    """
    own = workdir / BASE_POLICY
    if not own.exists():
        raise FileNotFoundError(f"{own}: is missing; continue the run to make it")
    return put(load_params(own), experiment.programs.shardings.params)


def cache_path(experiment: Experiment, settings: WarmStartConfig, taught: str) -> Path:
    """Return where a finished warm start of this recipe is, or will be."""
    directory = Path(settings.cache_dir).expanduser() if settings.cache_dir else user_cache()
    return directory / f"warm_start_{digest(recipe(experiment, taught))}.safetensors"


def warm_start(
    experiment: Experiment,
    settings: WarmStartConfig,
    run: RunDirectory,
    clock: Clock,
    stop: StopRequest,
    display: Display,
) -> Params:
    """Return the base policy's parameters on the mesh: from the run directory, from the cache, or trained now.

    Raises:
      ConfigError: if the warm start was begun with other demonstrations.
      Interrupted: if a stop was requested; the warm start is then saved, and continues with the same command.
    """
    own = run.path / BASE_POLICY
    writes = jax.process_index() == 0  # the others may see its files later, and have caches of their own

    def placed(params: Params | None) -> Params:
        return put(arrays_of_first(params, experiment.programs.policy.shapes()), experiment.programs.shardings.params)

    found = _read(own, display) if writes else None
    if of_first(found is not None):
        return placed(found)
    assert isinstance(experiment.task, Demonstrable)  # `build` has made sure
    batches = demonstrations(settings, experiment.task, experiment.config.rollout.max_new_tokens)
    taught = digest_demonstrations(settings, batches)
    cached = cache_path(experiment, settings, taught)
    found = _read(cached, display) if writes else None
    if of_first(found is not None):
        if found is not None:
            save_params(own, found)
            display.note(f"base policy: taken from {cached}")
        return placed(found)
    display.note(f"base policy: is made now, and kept as {cached}")
    display.doing("compiling the warm start, or loading it from the cache")
    with clock.phase("warm_start"):
        trained, recipes = _train(experiment, settings, batches, taught, cached.stem, run, clock, stop, display)
        params = fetch(trained)
    if writes:
        save_params(own, params)
    if writes and len(recipes) == 1:  # else the warm start was continued under another recipe, as on another mesh
        try:
            save_params(cached, params)
        except OSError as error:
            display.note(f"base policy: cannot be cached as {cached} ({error.strerror}); the next run makes it anew")
    return put(params, experiment.programs.shardings.params)


def _read(path: Path, display: Display) -> Params | None:
    """Return a file's parameters on the host; None if the file is missing, or damaged and therefore removed."""
    try:
        return load_params(path) if path.exists() else None
    except (OSError, SafetensorError) as error:
        display.note(f"base policy: {path} cannot be read ({error}); it is made anew")
        path.unlink()
        return None


def _train(
    experiment: Experiment,
    settings: WarmStartConfig,
    batches: Callable[[int], Batch],
    taught: str,
    recipe: str,
    run: RunDirectory,
    clock: Clock,
    stop: StopRequest,
    display: Display,
) -> tuple[Params, set[str]]:
    """Train the base policy, and return its parameters and the recipes under which they were trained."""
    shardings = experiment.programs.shardings
    total = settings.full_steps + settings.skip_steps
    tx = make_optimizer(settings)
    state_sharding = state_shardings(experiment.programs.mesh, experiment.programs.policy, tx)
    init_state = make_init_state(tx, state_sharding)
    update = jax.jit(
        make_supervised_update(experiment.programs.policy, tx),
        donate_argnums=0,
        out_shardings=(state_sharding, shardings.replicated),
    )

    with closing(Checkpoints(run.path / "warm_start" / "checkpoints", keep_last=2, keep_best=0)) as checkpoints:
        state = init_state(experiment.programs.init_params(base_policy_key(settings.seed)))
        restored = checkpoints.restore_latest(state)
        if restored and restored.record.get("taught", taught) != taught:
            raise ConfigError(
                f"--workdir={run.path}: its warm start had other demonstrations when it was begun; restore them, or "
                "name another directory to begin anew."
            )
        if restored:
            state = restored.state
            clock.continue_from(restored.record["seconds"])
            display.note(f"base policy: continued at step {restored.step} of {total}")
        first = restored.step if restored else 0
        recipes = {recipe, *(restored.record.get("recipes", ()) if restored else ())}
        run.rewind(Stage.WARM_START, first)

        late: tuple[int, Array] | None = None
        for step in range(first + 1, total + 1):
            state, loss = update(state, put(batches(step - 1), shardings.batch))
            if late:
                _log(run, display, *late, total)
            late = (step, loss)
            stopping = stop.requested()
            if stopping or step % settings.checkpoint_every == 0 or step == total:
                _log(run, display, *late, total)
                late = None
                checkpoints.save(step, state, {"seconds": clock.read(), "taught": taught, "recipes": sorted(recipes)})
            if stopping:
                raise Interrupted(f"{stop.name}: saved at step {step} of {total} of the warm start")
    return state.params, recipes


def _log(run: RunDirectory, display: Display, step: int, loss: Array, total: int) -> None:
    line = WarmStartLine(step, float(fetch(loss)))
    run.append_metrics(line)
    display.progress("warm start", step, total, {"loss {:.3f}": line.loss})
