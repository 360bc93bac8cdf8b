"""What is compared: imports and publishing, method by method, in turns."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mirror_methods import BOTO3, IMPORTS, OURS, PUBLISHES, S5CMD, VERIFIED, Job
from mirror_models import BUCKET, GIBIBYTE, MEBIBYTE, PREFIX, make_model
from mirror_processes import sample
from mirror_servers import nginx, s5cmd, seaweedfs
from rounds import Comparison, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from mirror_methods import Method
    from mirror_models import Model
    from mirror_processes import Sample

#: Bytes that a process of ours may have resident, whatever the size of the blob.
PEAK = 150 * MEBIBYTE


@dataclass(frozen=True)
class Target:
    """What ours should not exceed.

    Attributes:
        figure: Which figure of a sample.
        other: The method that it is a ratio to.
        limit: The ratio.
    """

    figure: Literal["seconds", "cpu"]
    other: str
    limit: float


@dataclass(frozen=True)
class Scenario:
    """A model and a server that it is copied from or to.

    Attributes:
        name: What to ask for.
        title: What to print.
        figure: The figure that matters most: wall time, or processor time where the server is the limit.
        targets: For ours.
    """

    name: str
    title: str
    figure: Literal["seconds", "cpu"]
    targets: tuple[Target, ...]


_WALL = Target("seconds", S5CMD, 1.00)
_HALF = Target("seconds", BOTO3, 0.50)

SCENARIOS = (
    Scenario("import-http", "import of one blob from nginx over http", "seconds", (_WALL, _HALF)),
    Scenario(
        "import-tls",
        "import of one blob from nginx over TLS",
        "seconds",
        (Target("seconds", S5CMD, 1.25), _HALF),
    ),
    Scenario("import-many", "import of many blobs from nginx over http", "seconds", (_WALL, _HALF)),
    Scenario("import-seaweedfs", "import of one blob from SeaweedFS", "seconds", (_WALL,)),
    Scenario("publish", "publish of one blob to SeaweedFS", "cpu", (Target("cpu", S5CMD, 1.00),)),
)


@dataclass(frozen=True)
class Measured:
    """The samples of one scenario.

    Attributes:
        scenario: What was done.
        blobs: How many blobs the model has.
        size: Bytes in them.
        samples: For each method one a round.
    """

    scenario: Scenario
    blobs: int
    size: int
    samples: Mapping[str, list[Sample]]

    def label(self, method: str) -> str:
        """Return what to call a method in this scenario."""
        return method if self.scenario.name == "publish" else VERIFIED[method]

    def comparison(self, target: Target) -> Comparison:
        """Return the samples as a comparison with a target's other method."""
        figures = {
            name: [one.seconds if target.figure == "seconds" else one.cpu for one in samples]
            for name, samples in self.samples.items()
        }
        return Comparison(self.scenario.name, "s", target.other, OURS, target.limit, figures)

    @property
    def peak(self) -> int:
        """Bytes resident at the highest in any sample of ours."""
        return max(one.peak for one in self.samples[OURS])


@dataclass(frozen=True)
class Sizes:
    """How much is copied.

    Attributes:
        large: Bytes of the one large blob.
        medium: Bytes of the one blob that SeaweedFS gets.
        count: How many small blobs.
        small: Bytes of each of them.
        names: How many models are listed.
    """

    large: int
    medium: int
    count: int
    small: int
    names: int


def sizes(gib: float, *, quick: bool) -> Sizes:
    """Return the sizes for a large blob of that many GiB."""
    large = int(gib * GIBIBYTE)
    count, names = (40, 1_000) if quick else (200, 10_000)
    return Sizes(large, min(large, GIBIBYTE), count, 8 * MEBIBYTE, names)


class Workshop:
    """The folder that all happens in, and the models in it, each made when first asked for.

    Attributes:
        folder: Ours alone.
        sizes: Of the models.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        """Make it in an empty folder."""
        self.folder = folder
        self.sizes = sizes
        self._models: dict[str, Model] = {}

    @property
    def served(self) -> Path:
        """What nginx serves: folders that are buckets."""
        return self.folder / "served"

    def model(self, name: Literal["large", "medium", "many"]) -> Model:
        """Return a model in the folder that nginx serves."""
        if name not in self._models:
            sys.stderr.write(f"making the model {name!r} ...\n")
            count, size = {
                "large": (1, self.sizes.large),
                "medium": (1, self.sizes.medium),
                "many": (self.sizes.count, self.sizes.small),
            }[name]
            store = self.served / BUCKET / PREFIX
            self._models[name] = make_model(store, f"{name}:latest", count=count, size=size)
        return self._models[name]

    @contextmanager
    def job(self, model: Model, url: str, ca: Path | None) -> Generator[Job]:
        """Make an empty folder for one run, and remove it and all that it holds afterwards."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.folder) as name:
            job = Job(model, url, ca, Path(name))
            job.copies.mkdir()
            yield job


def measure(scenario: Scenario, workshop: Workshop, rounds: int) -> Measured:
    """Measure all methods in one scenario.

    Raises:
        MeasureError: A server or a method failed, or a result was not what it should be.
    """
    with ExitStack() as cleanup:
        once: Callable[[Method], Sample]
        if scenario.name == "publish":
            model, methods, once = _publishing(workshop)
        else:
            model, methods, once = _importing(scenario, workshop, cleanup)
        subjects = {name: partial(once, method) for name, method in methods.items()}
        return Measured(scenario, len(model.layers), model.size, take_turns(subjects, rounds))


def _importing(
    scenario: Scenario, workshop: Workshop, cleanup: ExitStack
) -> tuple[Model, Mapping[str, Method], Callable[[Method], Sample]]:
    """Start the server of all rounds."""
    ca: Path | None = None
    if scenario.name == "import-seaweedfs":
        model = workshop.model("medium")
        url = cleanup.enter_context(seaweedfs(workshop.folder))
        _fill(url, workshop, model)
    else:
        model = workshop.model("many" if scenario.name == "import-many" else "large")
        static = cleanup.enter_context(nginx(workshop.served, tls=scenario.name == "import-tls"))
        url, ca = static.url, static.ca

    def once(method: Method) -> Sample:
        with workshop.job(model, url, ca) as job:
            return _sample(method, job)

    return model, IMPORTS, once


def _publishing(workshop: Workshop) -> tuple[Model, Mapping[str, Method], Callable[[Method], Sample]]:
    """Start a server for each sample: none finds the disk fuller than the others."""
    model = workshop.model("medium")

    def once(method: Method) -> Sample:
        with seaweedfs(workshop.folder) as url, workshop.job(model, url, None) as job:
            _warm_up(url, job.folder)
            return _sample(method, job)

    return model, PUBLISHES, once


def _sample(method: Method, job: Job) -> Sample:
    result, printed = sample(method.commands(job), partial(method.files, job))
    method.check(job, printed)
    return result


def _fill(url: str, workshop: Workshop, model: Model) -> None:
    """Put a model into a bucket."""
    files = [Path("blobs", blob.file) for blob in (model.config, *model.layers)]
    for file in (*files, model.manifest):
        s5cmd(url, workshop.folder, "cp", str(model.store / file), f"s3://{BUCKET}/{PREFIX}/{file}")


def _warm_up(url: str, folder: Path) -> None:
    """Have the server make its first volumes before the clock runs."""
    small = folder / "small"
    small.write_bytes(b"warm up")
    s5cmd(url, folder, "cp", str(small), f"s3://{BUCKET}/small")
