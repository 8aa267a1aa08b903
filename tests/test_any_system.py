"""What differs between operating systems is in one room, and texts are the same bytes on each of them.

Every test reads the syntax tree. The rules themselves are tried on bad snippets.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# --- no other room knows the system ----------------------------------------------------------------------------------

MODULES = {"fcntl", "resource", "posix", "pwd", "grp", "termios", "msvcrt", "winreg", "multiprocessing", "signal"}
NAMES = """
    kill killpg fork forkpty nice setpriority getpriority setsid getsid getpgid setpgid getuid geteuid getgid getppid
    umask chown fchmod lchown pread pwrite ftruncate posix_spawn mkfifo mknod symlink link readlink statvfs sysconf
    getloadavg sched_getaffinity sched_setaffinity chmod wait waitpid dup2_inheritable set_inheritable replace rename
    remove startfile
""".split()
METHODS = {"symlink_to", "hardlink_to", "chmod", "lchmod", "rename", "unlink"}
KEYWORDS = {"pass_fds", "preexec_fn", "start_new_session", "process_group", "creationflags", "startupinfo", "dir_fd"}
TEXTS = ("/proc/", "/sys/", "/dev/", "/tmp", "/etc/", "/usr/")
# Files whose reason stands beside the use.
EXCEPTIONS = {
    # Code that Ray sends to nodes before the rest of this repository is there.
    "explorer/studies/ray_task.py": {"os.getuid", "os.rename"},
    # Chromium's own needs, and packages of Debian's for it.
    "driving/chromium.py": {"os.geteuid"},
    # nginx and Caddy of Debian's packages, for the tests; the image of a container, which is Linux.
    "driving/proxies.py": {"os.geteuid", "/etc/", "/usr/"},
    # A function of ours, for the title of a model.
    "explorer/ui/pages/models.py": {"user_models.rename"},
    # The names of calls that a file of weights must never make.
    "explorer/weights_import/sandbox.py": set(),
}


def all_sources() -> list[Path]:
    """All but the tests, which need Linux."""
    files = [ROOT / "app.py"]
    for folder in ("explorer", "driving", "benchmarks", "scripts"):
        files += sorted((ROOT / folder).rglob("*.py"))
    return files


def sources() -> list[Path]:
    """Those outside of the room."""
    return [path for path in all_sources() if (ROOT / "explorer" / "machine") not in path.parents]


WORTH_A_LOOK = re.compile("|".join([r"\b(os|sys)\b", r"\.replace\(", *MODULES, *KEYWORDS, *METHODS, *TEXTS]))


def of_one_system(source: str) -> list[str]:
    """What in the source is not there, or does something else, on another system; one entry each."""
    found: list[str] = []
    if not WORTH_A_LOOK.search(source):
        return found
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                found.append(str(node.module))
            if node.module in ("os", "sys"):
                found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            module = node.value.id if isinstance(node.value, ast.Name) else ""
            of_os = node.attr in NAMES or node.attr.startswith(("O_", "sched_", "spawn")) or node.attr == "name"
            if (module == "os" and of_os) or (module, node.attr) == ("sys", "platform") or node.attr in METHODS:
                found.append(f"{module}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
            if len(node.args) == 1 and not node.keywords:  # of a path: those of texts and values have more
                found.append("path.replace")
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            found.append(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found += [text for text in TEXTS if node.value.startswith(text)]
    return found


def test_only_this_room_knows_the_system():
    wrong = {}
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        found = {*of_one_system(path.read_text(encoding="utf-8"))}
        assert name not in EXCEPTIONS or found == EXCEPTIONS[name], (name, found)
        if found - EXCEPTIONS.get(name, set()):
            wrong[name] = found
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from signal import SIGKILL",
        "import os\nos.kill(1, 9)",
        "import os\nos.open('x', os.O_RDONLY)",
        "from os import nice",
        "subprocess.Popen(command, pass_fds=[3])",
        "subprocess.run(command, start_new_session=True)",
        "open('/proc/self/status')",
        "Path('/dev/shm')",
        "path.symlink_to(other)",
        "if sys.platform == 'win32': pass",
        "os.replace(a, b)",
        "path.rename(other)",
        "path.replace(other)",
        "path.unlink(missing_ok=True)",
        "os.remove(path)",
    ],
)
def test_what_is_of_one_system_is_found(source: str):
    assert len(of_one_system(source)) == 1


def test_what_every_system_has_is_not():
    source = '"""/proc/self"""\nimport os\nos.environ, os.path.join(a, b), os.devnull\n'
    source += "text.replace(a, b)\nmoment.replace(hour=1)\nos.path.exists(a)"
    assert not of_one_system(source)


# --- texts have one encoding and one line end everywhere --------------------------------------------------------------


def without_encoding(source: str) -> list[str]:
    """Every text of a file or process whose encoding, or line end where it is written, is the system's own."""
    found: list[str] = []
    if not re.search(r"open\b|_text\b|TemporaryFile\b|\bTextIOWrapper\b|\brun\b|\bcheck_output\b", source):
        return found
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        opens = name == "fdopen" or (name == "open" and isinstance(node.func, ast.Name))
        mode = keywords.get("mode", node.args[1] if opens and len(node.args) > 1 else None)
        if name == "open" and isinstance(node.func, ast.Attribute) and node.args:
            mode = node.args[0]  # of a path; other things that are opened have no such mode
            opens = isinstance(mode, ast.Constant) and bool(re.fullmatch(r"[rwxa]\+?t?|t", str(mode.value)))
        binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        text = name in ("read_text", "write_text", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper")
        if (text or (opens and not binary)) and "encoding" not in keywords and not (name.endswith("File") and not mode):
            found.append(f"line {node.lineno}: {name}")
        elif name == "write_text" and "newline" not in keywords:
            found.append(f"line {node.lineno}: {name} without newline")
        elif {"text", "universal_newlines"} & {*keywords} and name in ("run", "Popen", "check_output"):
            found.append(f"line {node.lineno}: text of a process")
    return found


def test_texts_are_utf_8_on_every_system():
    wrong = {
        path.name: found for path in all_sources() if (found := without_encoding(path.read_text(encoding="utf-8")))
    }
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "open(path, 'w')",
        "path.read_text()",
        "path.write_text(text)",
        "path.write_text(text, encoding='utf-8')",
        "path.open('w')",
        "os.fdopen(descriptor, 'w')",
        "subprocess.run(command, text=True)",
    ],
)
def test_a_text_of_the_systems_own_encoding_is_found(source: str):
    assert len(without_encoding(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'rb')",
        "path.open('ab')",
        "Image.open(file)",
        "tarfile.open(name)",
        "path.read_text(encoding='utf-8')",
    ],
)
def test_a_text_of_one_encoding_is_not(source: str):
    assert not without_encoding(source)
