"""What every command of an application does: one photograph in this process, many by the engine that was asked for."""

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..apps.base import Application
from ..apps.batch.jobs import STREAM, Job, jobs_of
from ..apps.batch.work import Outcome, run_one
from ..devices import CPU
from ..errors import ImageError, OptionError, OutputError, U2ZooError, UnknownNameError
from ..sources import file_of
from ..system import path_key, same_file
from .console import state
from .fetch import fetch_source
from .runtime_options import check_runtime, class_names, open_session, own_profile
from .terminal import Whole

if TYPE_CHECKING:
    from converters.engines import Choice

    from ..apps.batch.journal import Journal
    from ..session import MaskSession

__all__ = ["ENGINES", "Opening", "Request", "parts_of", "row_of", "run_request", "settings_of"]

ENGINES = ("local", "ray")
HEAD = 40  # characters by which a file about a whole run is known


class Opening:
    """Opens the session when it is called; it can be pickled, and called in another process."""

    engine: "Choice | None" = None  # of the session, once it is open in this process

    def __init__(self, model: Path, profile: str | None, runtime: str, takes: str | None, device: str = CPU):
        self.model = model.absolute() if model.exists() else model  # Ray's workers stand in folders of their own
        self.profile, self.runtime, self.takes, self.device = profile, runtime, takes, device

    def __call__(self) -> "MaskSession":
        session = open_session(self.model, self.profile, self.runtime, self.takes, self.device)
        self.engine = session.engine
        return session


@dataclass(frozen=True)
class Request:
    """The common options of a command, as they were typed; see `applications.COMMON`."""

    images: list[str]
    out: str
    model: Path
    profile: str | None
    runtime: str
    device: str
    input: str | None
    recursive: bool
    resume: bool
    errors: Path | None
    workers: int | None
    engine: str
    address: str | None
    json: bool

    def check(self) -> None:
        """Raises UsageError for options that do not go together."""
        if self.engine not in ENGINES:
            raise UnknownNameError("engine", self.engine, ENGINES)
        if self.address and self.engine != "ray":
            raise OptionError(f"--address {self.address}: goes with --engine ray")
        if self.out == STREAM and self.json:
            raise OptionError("-o -: standard output takes the picture; --json needs a file with -o")
        check_runtime(self.runtime, self.device)
        if self.profile:
            from ..preprocessing import get_profile

            get_profile(self.profile)

    def many(self, jobs: list[Job]) -> bool:
        """Whether it is a run over many photographs: a folder with one is a small one of these."""
        many = len(jobs) > 1 or os.path.isdir(self.images[0]) or self.resume or self.engine != "local"
        if many and any(job.photograph == STREAM for job in jobs):
            raise OptionError(f"{STREAM}: standard input is one photograph; leave out --resume and --engine ray")
        if many and jobs[0].named:
            raise OptionError(f"-o {self.out}: --resume and --engine ray write into a folder; name one with -o")
        return many


def run_request(application: Application, request: Request) -> None:
    """Runs a command. Raises U2ZooError, also when some photographs failed and the others have their results."""
    state.json = request.json
    application, jobs = _understood(application, request, request.model)
    request.check()
    many = request.many(jobs)
    fetch_source(request.model)
    if (file := file_of(request.model)) != request.model:  # of the hub: only now it says which classes it knows
        application, jobs = _understood(application, request, file)
    profile = request.profile or application.profile(own_profile(request.model, application.model))
    opened = Opening(request.model, profile, request.runtime, request.input, request.device)
    if many:
        outcomes = _run_many(application, request, jobs, opened)
    else:
        outcomes = [_run_single(application, request, jobs[0], opened)]
    _finish(application, request, jobs, outcomes, opened)


def _understood(application: Application, request: Request, model: Path) -> tuple[Application, list[Job]]:
    """The application with the model's classes, and what there is to do. Raises InputError, UsageError, OutputError."""
    application = application.knowing(class_names(model))
    jobs = jobs_of(request.images, request.out, application, recursive=request.recursive)
    _check_targets(application, jobs, request)
    return application, jobs


def _run_single(application: Application, request: Request, job: Job, opened: Opening) -> Outcome:
    with state.quiet():
        stream = (state.out or sys.stdout).buffer if job.target == STREAM else None
        try:
            outcome = run_one(opened(), application, job, stream)
        except ImageError as error:
            if request.errors:
                _write_errors(request.errors, [(job.photograph, str(error))])
            raise
        if stream is not None:
            stream.flush()
        _say(job, outcome)
    return outcome


def _run_many(application: Application, request: Request, jobs: list[Job], opened: Opening) -> list[Outcome]:
    """The outcomes that somebody asks for afterwards: failures; all for --json and for what concludes a run."""
    from ..apps.batch.journal import journal

    every = state.json or type(application).conclude is not Application.conclude
    kept = []
    settings = settings_of(application, request)
    with (
        state.quiet(),
        state.progress(total=len(jobs)) as bar,
        journal(Path(request.out), settings, resume=request.resume) as book,
    ):
        for outcome in _outcomes(application, request, jobs, opened, book):
            job = jobs[outcome.index]
            bar.update(bar.task_ids[0], advance=1, description=job.name)
            if outcome.error:
                state.warn(outcome.error)
            if every or outcome.error:
                kept.append(outcome)
    return sorted(kept, key=lambda outcome: outcome.index)


def _outcomes(
    application: Application, request: Request, jobs: list[Job], opened: Opening, book: "Journal"
) -> Iterator[Outcome]:
    """What an earlier run finished, then what this one does; the journal hears of it."""
    todo = []
    for index, job in enumerate(jobs):
        if earlier := book.outcome(index, job):
            yield earlier
        else:
            todo.append((index, job))
    if len(todo) < len(jobs):
        state.result(f"{len(jobs) - len(todo)} of {len(jobs)} were finished before")
    if request.engine == "ray":
        from ..apps.batch import on_ray

        running = on_ray.run(opened, application, todo, book.room, workers=request.workers, address=request.address)
    else:
        from ..apps.batch import local as run

        running = run.run(opened, application, todo, book.room, workers=request.workers)
    with closing(running):
        for outcome in running:
            if outcome.error:
                book.keep()
            else:
                book.add(jobs[outcome.index], outcome)
                _say(jobs[outcome.index], outcome)
            yield outcome


def _finish(
    application: Application, request: Request, jobs: list[Job], outcomes: list[Outcome], opened: Opening
) -> None:
    """Reports, the JSON object, and the exit code."""
    good = [outcome for outcome in outcomes if not outcome.error]
    failed = [(jobs[outcome.index].photograph, outcome.error) for outcome in outcomes if outcome.error]
    if request.errors:
        _write_errors(request.errors, failed)
    _conclude(application, request, jobs, good)
    state.document(
        {
            "model": str(request.model),
            "profile": next((outcome.profile for outcome in good if outcome.profile), opened.profile),
            "engine": opened.engine and {"runtime": opened.engine.runtime, "device": opened.engine.device},
            application.plural: [row_of(application, jobs[outcome.index], outcome) for outcome in good],
            "failed": [{"image": image, "error": error} for image, error in failed],
        }
    )
    if failed:
        raise U2ZooError(f"{len(failed)} of {len(jobs)} photographs failed; the others have their {application.plural}")


def _say(job: Job, outcome: Outcome) -> None:
    """The line of a result, and what people should know of it."""
    if job.target != STREAM:
        state.result(*parts_of(outcome))
    if warning := outcome.facts.get("warning"):
        state.warn(f"{job.name}: {warning}")


def _conclude(application: Application, request: Request, jobs: list[Job], good: list[Outcome]) -> None:
    from ..files import staged

    if request.out == STREAM:
        return
    folder = _results_folder(request, jobs)
    results = ((jobs[outcome.index].name, outcome.size, outcome.facts) for outcome in good)
    for name, text in application.conclude(results).items():
        with staged(folder / name) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
        state.result(folder / name)


def _results_folder(request: Request, jobs: list[Job]) -> Path:
    return Path(request.out).parent if jobs[0].named else Path(request.out)


def _write_errors(file: Path, failed: Iterable[tuple[str, str]]) -> None:
    """A CSV table `path,error`, also when nothing failed."""
    from ..files import staged

    with staged(file) as path, path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        csv.writer(stream).writerows([("path", "error"), *failed])


def parts_of(outcome: Outcome) -> tuple[str, ...]:
    width, height = outcome.size
    return *map(Whole, outcome.files.values()), f"{width}x{height}", f"{outcome.seconds:.2f} s"


def row_of(application: Application, job: Job, outcome: Outcome) -> dict[str, Any]:
    """`{"image": …, "mask": …, "size": …, "seconds": …}`; then other files by what they add to the name, and facts."""
    first, *more = outcome.files.items()
    row: dict[str, Any] = {"image": job.photograph, application.name: first[1]}
    row |= {"size": list(outcome.size), "seconds": round(outcome.seconds, 3)}
    return row | ({"files": dict(more)} if more else {}) | ({"facts": outcome.facts} if outcome.facts else {})


def settings_of(application: Application, request: Request) -> dict[str, Any]:
    """What decides about the results: a run with other settings is another one."""
    from ..apps.batch.journal import stamp

    model = str(request.model)
    files = {name: [file, *stamp(file)] for name, file in application.files().items()}
    chosen = {"model": [model, *stamp(model)], "profile": request.profile, "runtime": request.runtime}
    return {"command": application.name, **asdict(application), **files, **chosen}


def _check_targets(application: Application, jobs: list[Job], request: Request) -> None:
    """Raises OutputError where a result would take the place of a photograph or of the model."""
    real: dict[str, str] = {}

    def place(path: str) -> str:
        folder, name = os.path.split(path)
        if os.path.islink(path):
            return os.path.realpath(path)
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        return os.path.join(real[folder], name)

    given = [*(job.photograph for job in jobs if job.photograph != STREAM), str(request.model)]
    read = {path_key(place(path)): place(path) for path in given}
    targets = [str(job.beside(key)) for job in jobs if job.target != STREAM for key in ("", *application.beside)]
    for target in [*targets, *([str(request.errors)] if request.errors else [])]:
        other = read.get(path_key(place(target)))
        if other is not None and (place(target) == other or same_file(Path(target), Path(other))):
            raise OutputError(f"{target}: would replace a file that is read; name another place with -o")
    for name, text in application.conclude([]).items() if request.out != STREAM else ():
        _check_conclusion(_results_folder(request, jobs) / name, text[:HEAD].encode())


def _check_conclusion(file: Path, head: bytes) -> None:
    """Raises OutputError where a file about a whole run would replace one that does not begin as such a file does."""
    if file.is_dir() or (file.exists() and not file.read_bytes().startswith(head)):
        raise OutputError(f"{file}: was not written by this command; move it or name another folder with -o")
