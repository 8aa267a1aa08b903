"""`RayEngine`: runs of a study on the nodes of a Ray cluster, or on this machine by a Ray of its own.

Each run is one task of Ray that starts the run's ordinary process (`explorer/studies/ray_node.py`), so its memory
limit, stop, log and bits are the same as here. Only the process of a study uses this: Ray replaces signal handlers and
belongs to one thread.
"""

import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from explorer import runs
from explorer.files import write_atomically
from explorer.machine import disk
from explorer.machine.locks import Lock
from explorer.machine.system import is_portable
from explorer.runs import Request, Run
from explorer.runs.directory import STOP_GRACE_S
from explorer.runs.queue import RESUMABLE, hold, write_end
from explorer.studies.carried import apply, code_files, data_files, run_files
from explorer.studies.engine import EngineError
from explorer.studies.ray_connection import DOWN, answering, answers, check_wished, connect
from explorer.studies.ray_task import remote

POLL_S = 0.25
PROBE_S = 5.0  # between two looks whether Ray still answers
DOWN_AFTER_S = 20.0  # Ray itself ends this process without a word after 60 s
ANSWER_S = 60.0
KILL_AFTER_S = STOP_GRACE_S + 2.0  # from the request to stop: it takes up to a second to reach the node
MAX_LOSSES = 3  # of one run in a row without a step between them


@dataclass
class _Job:
    """A run that was given to Ray. `attempt` is a new secret for each submission, and `lock` the run's while this
    process holds it because no shared disk does. `kill_at` is when it is killed, None where nobody asked for it."""

    run: Run
    request: Request
    lock: Lock | None = None
    attempt: str = ""
    reference: Any = None
    kill_at: float | None = None
    losses: int = 0
    step: int = -1

    @property
    def needs(self) -> dict[str, int]:
        """Cores, a thread each, and GPUs."""
        return {"num_cpus": max(1, self.request.threads), "num_gpus": 1 if self.request.device == "cuda" else 0}


class RayEngine:
    """An `Engine` on the Ray at `address` ("host:port" or "auto"), by default that of `RAY_ADDRESS`; without one it
    starts a Ray on this machine, until `close`.

    `places` runs are started at one time, with None or 0 as many as the cluster has cores for, or GPUs. With
    `shared_disk` the nodes look for the runs where they lie here; as soon as one does not find them there, every
    further run travels to its node and back. A run whose node is lost is submitted again and resumes from its last
    saved state.

    Raises EngineError, one sentence with what to do, where Ray is missing, has another version or does not answer.
    """

    def __init__(self, places: int | None = None, address: str | None = None, shared_disk: bool = True) -> None:
        address = check_wished(address)
        self.shared_disk = shared_disk and not is_portable()  # whose locks hold on one machine
        self.gcs, self.own_folder = connect(address, places)
        self.wished = places
        self.places = places or 1
        self.jobs: dict[str, _Job] = {}
        self.followed: dict[str, Run] = {}  # started by an earlier process of the study
        self.answered = self.probed = time.monotonic()
        self._board: Any = None
        self._stored: dict[str, Any] = {}  # references by what they hold
        with answering():
            self.task, board = remote()
            self.board_class = board
            self._count_places()

    def start(self, run: Run) -> bool:
        """As `Engine.start`. Raises EngineError too where no node of the cluster is large enough for the run."""
        if run.id in self.jobs or run.id in self.followed:
            return True
        if runs.is_alive(run):
            self.followed[run.id] = run
            return True
        if len(self.jobs) >= self.places:
            return False
        return self._begin(run)

    def wait(self, seconds: float) -> tuple[Run, ...]:
        """As `Engine.wait`."""
        deadline = time.monotonic() + seconds
        while True:
            with answering():
                self._check_answers()
                ended = [*self._ended_followed(), *self._ended_jobs()]
                self._obey_stops()
                left = deadline - time.monotonic()
                if ended or left <= 0:
                    return tuple(ended)
                import ray

                if references := [job.reference for job in self.jobs.values()]:
                    ray.wait(references, timeout=min(POLL_S, left))
                else:
                    time.sleep(min(POLL_S, left))

    def kill(self, run: Run) -> None:
        """As `Engine.kill`: it is asked to stop, and killed where it does not within the grace of a stop."""
        runs.stop(run)
        if run.id in self.jobs:
            self.jobs[run.id].kill_at = time.monotonic() + KILL_AFTER_S

    def close(self) -> None:
        """Leaves Ray, which ends the runs that go on; they can be resumed."""
        import ray

        ray.shutdown()
        for job in self.jobs.values():
            _let_go(job)
        self.jobs.clear()
        if self.own_folder:
            shutil.rmtree(self.own_folder, ignore_errors=True)  # its logs

    def _begin(self, run: Run) -> bool:
        """Submits a run that no process holds."""
        if (state := runs.status(run).state) not in RESUMABLE:
            raise ValueError(f"the run is {state}, there is nothing to start.")
        request = run.request()
        if not request.threads:  # one for each network, and recorded: their number decides the last bits
            request = replace(request, threads=len(request.specs))
            run.write_request(request)
        job = _Job(run, request)
        with answering():
            self._check_fits(job)
            disk.remove(run.stop_mark)
            try:
                self._submit(job)
            except BaseException:
                _let_go(job)
                raise
        self.jobs[run.id] = job
        with answering():
            self._count_places()
        return True

    def _submit(self, job: _Job) -> None:
        """Gives the run to Ray, with its files where there is no shared disk."""
        import ray

        job.attempt = secrets.token_hex(16)
        files = None
        if self.shared_disk:
            write_atomically(job.run.folder / "attempt", job.attempt.encode())
        else:
            if job.lock is None:
                job.lock = hold(job.run)
            if self._board is None:
                self._board = self._start_board()
            # In a list, so that Ray does not fetch them before the task asks for them.
            files = [ray.put(run_files(job.run)), *self._data(job.request)]
        code = self._store("code", code_files)
        values = {
            "attempt": job.attempt,
            "run": job.run.id,
            "data": str(runs.data_folder()),
            "cpus": job.needs["num_cpus"],
            "files": files,
        }
        name = f"run {job.run.id[:8]}"
        job.reference = self.task.options(**job.needs, name=name).remote(values, [code], self._board)

    def _start_board(self) -> Any:
        """The actor that takes the reports of the nodes, beside this process: it is lost only with it."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return self.board_class.options(num_cpus=0, scheduling_strategy=here).remote()

    def _store(self, key: str, make: Any) -> Any:
        import ray

        if key not in self._stored:
            self._stored[key] = ray.put(make())
        return self._stored[key]

    def _data(self, request: Request) -> list[Any]:
        """References to the files of the pictures that the run trains on; [] for drawn shapes, which need none."""
        kind = str(request.data.get("kind"))
        if kind == "shapes":
            return []
        key = f"{kind} {request.data.get('number', '')}"
        return [self._store(key, lambda: data_files(request))]

    # --- what became of them ------------------------------------------------------------------------------------------

    def _ended_followed(self) -> list[Run]:
        """Runs of an earlier process that have ended; those that it took with it are begun again."""
        ended = []
        for run in list(self.followed.values()):
            if runs.is_alive(run):
                continue
            del self.followed[run.id]
            if runs.status(run).state != "interrupted" or run.stop_mark.exists():
                ended.append(run)
            else:
                self._begin(run)
        return ended

    def _ended_jobs(self) -> list[Run]:
        import ray

        references = [job.reference for job in self.jobs.values()]
        done = ray.wait(references, num_returns=len(references), timeout=0)[0] if references else []
        answers = {reference: _answer(reference) for reference in done}  # then every report of theirs has arrived
        failed = self._take_reports()
        ended = []
        for job in list(self.jobs.values()):
            if job.run.id in failed:
                ray.cancel(job.reference, force=True)
                ended.append(self._end(job, failed[job.run.id]))
            elif job.reference in answers and self._is_over(job, answers[job.reference]):
                ended.append(self._end(job))
        return ended

    def _is_over(self, job: _Job, answer: dict[str, Any]) -> bool:
        """Whether the run has ended with this answer of its task; else it was submitted again."""
        outcome, code = answer["outcome"], answer.get("code", 0)
        if job.lock is None:
            _wait_for_lock(job.run)
        with suppress(OSError), job.run.metrics.open("rb"):
            pass  # a file server's client asks for the size of a file anew when it is opened
        log = runs.status(job.run).log
        if runs.find(job.run.id) is None:  # it was deleted
            return True
        if outcome == "held":  # by a process that nobody started here, such as that of a node that lives on apart
            self._end(job)
            self.followed[job.run.id] = job.run
            return False
        if log.end is None and outcome == "refused":
            write_end(job.run, "failed", f"A node of Ray cannot train it: {answer['message']}.")
        elif log.end is None and code > 0:
            message = f"The node {answer['node']} could not start the training; the run's log says why."
            write_end(job.run, "failed", message)
        elif outcome == "absent":
            self.shared_disk = False
            self._submit(job)
            return False
        elif log.end is None and not self._is_asked_to_stop(job):
            step = log.progress[-1]["step"] if log.progress else -1
            job.losses = 1 if step > job.step else job.losses + 1
            job.step = step
            if job.losses <= MAX_LOSSES:
                self._submit(job)
                return False
        elif log.end is None:
            write_end(job.run, "stopped")
        return True

    def _end(self, job: _Job, failure: str = "") -> Run:
        if failure:
            write_end(job.run, "failed", failure)
        _let_go(job)
        del self.jobs[job.run.id]
        return job.run

    def _take_reports(self) -> dict[str, str]:
        """Writes what the nodes have sent, and returns why a run cannot go on, by its id."""
        import ray

        if self._board is None:
            return {}
        carried = {job.attempt: job for job in self.jobs.values() if job.lock is not None}
        stopping = [attempt for attempt, job in carried.items() if self._is_asked_to_stop(job)]
        failed = {}
        for attempt, changes in ray.get(self._board.take.remote(stopping), timeout=ANSWER_S):
            job = carried.get(attempt)  # none where it was submitted again meanwhile
            if job and job.run.id not in failed:
                try:
                    apply(job.run, changes)
                except OSError as error:
                    disk.remove(job.run.reserve)
                    failed[job.run.id] = f"Its results cannot be kept here ({error.strerror}). Free some space, resume."
        return failed

    def _is_asked_to_stop(self, job: _Job) -> bool:
        return job.kill_at is not None or job.run.stop_mark.exists()

    def _obey_stops(self) -> None:
        """Ends the tasks whose grace is over, and those that a user stopped before they began."""
        import ray

        for job in self.jobs.values():
            if job.kill_at is None and job.run.stop_mark.exists():
                job.kill_at = time.monotonic() + KILL_AFTER_S
            if job.kill_at is not None and time.monotonic() > job.kill_at:
                ray.cancel(job.reference, force=True)
                job.kill_at = time.monotonic() + STOP_GRACE_S

    # --- the cluster --------------------------------------------------------------------------------------------------

    def _check_answers(self) -> None:
        """Raises EngineError where Ray's head has not answered for some time. Nodes may come and go meanwhile."""
        now = time.monotonic()
        if now - self.probed < PROBE_S:
            return
        self.probed = now
        if answers(self.gcs):
            self.answered = now
            self._count_places()
        elif now - self.answered > DOWN_AFTER_S:
            raise EngineError(DOWN)

    def _count_places(self) -> None:
        import ray

        if self.wished:
            return
        found = ray.cluster_resources()
        each = max((job.needs["num_cpus"] for job in self.jobs.values()), default=1)
        gpus = any(job.needs["num_gpus"] for job in self.jobs.values())
        self.places = max(1, int(found.get("GPU", 0)) if gpus else int(found.get("CPU", 0)) // each)

    def _check_fits(self, job: _Job) -> None:
        """Raises EngineError where the cluster has nodes for trainings and none is large enough for this run."""
        import ray

        for kind, need, words in (("CPU", "num_cpus", "cores"), ("GPU", "num_gpus", "GPUs")):
            sizes = [node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"]]
            largest = int(max(sizes, default=0))
            if job.needs[need] > largest and (largest or kind == "GPU"):
                raise EngineError(
                    f"A run of this study needs {job.needs[need]} {words} and the largest node of this Ray has "
                    f"{largest}. Choose a smaller `threads` or another `device`, or add a larger node."
                )


def _answer(reference: Any) -> dict[str, Any]:
    """What the task returned, or how it was lost."""
    import ray

    try:
        return dict(ray.get(reference, timeout=ANSWER_S))
    except ray.exceptions.RayTaskError as error:  # a node without a package, or a fault of ours
        lines = str(error).strip().splitlines() or [""]
        return {"outcome": "refused", "message": lines[-1][:300].rstrip(".")}
    except ray.exceptions.RayError:  # its node or its process is gone
        return {"outcome": "lost"}


def _wait_for_lock(run: Run) -> None:
    """Waits until the process of a run whose task has ended is gone too: killed with it, it takes a moment to die."""
    deadline = time.monotonic() + STOP_GRACE_S
    while runs.is_alive(run) and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)


def _let_go(job: _Job) -> None:
    """Leaves the run to others."""
    for path in (job.run.folder / "attempt", *([job.run.reserve] if job.lock is not None else [])):
        disk.remove(path)
    if job.lock is not None:
        job.lock.close()
        job.lock = None
