"""The code that Ray itself sends to its nodes: a run's task, and the board for the reports of the nodes."""

from typing import Any


def remote() -> tuple[Any, Any]:
    """(task, class of the board) for Ray. Both are defined here inside, so that Ray sends their code: the nodes have
    none of this repository until the task unpacks it."""
    import ray

    def train(job: dict[str, Any], code: list[Any], board: Any) -> dict[str, Any]:
        import getpass
        import hashlib
        import os
        import shutil
        import stat
        import sys
        import tempfile

        import ray

        # As `machine.processes.account`, which is not here yet. On Windows the temporary folder is the account's own.
        shared = hasattr(os, "getuid")
        account = os.getuid() if shared else getpass.getuser()
        root = os.path.join(tempfile.gettempdir(), f"explorer-{account}")
        os.makedirs(root, mode=0o700, exist_ok=True)
        found = os.lstat(root)
        if shared and (not stat.S_ISDIR(found.st_mode) or found.st_uid != account or found.st_mode & 0o022):
            return {"outcome": "refused", "message": f"the folder {root} is another account's"}
        files = ray.get(code[0])
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        place = os.path.join(root, f"code-{digest}")
        if not os.path.isdir(place):
            unpacked = tempfile.mkdtemp(dir=root)
            for name, content in files.items():
                os.makedirs(os.path.dirname(os.path.join(unpacked, name)), exist_ok=True)
                with open(os.path.join(unpacked, name), "wb") as file:
                    file.write(content)
            try:
                os.rename(unpacked, place)
            except OSError:  # another task was faster
                shutil.rmtree(unpacked)
        sys.path.insert(0, place)
        from explorer.studies import ray_node

        return ray_node.execute(job, board)

    class Board:
        """Reports of the nodes, until the study's process takes them, and which runs should stop."""

        def __init__(self) -> None:
            self.reports: list[Any] = []
            self.stopping: set[str] = set()

        def report(self, attempt: str, changes: dict[str, Any]) -> bool:
            self.reports.append((attempt, changes))
            return attempt in self.stopping

        def take(self, stopping: list[str]) -> list[Any]:
            taken, self.reports, self.stopping = self.reports, [], {*stopping}
            return taken

    return ray.remote(max_calls=1, max_retries=0)(train), ray.remote(num_cpus=0)(Board)
