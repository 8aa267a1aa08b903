"""Every fenced block of the documentation runs, or says above itself why it is only checked.

`<!-- checked, not run: REASON -->` before a block: its commands, options and files exist, and it has no errors of
syntax. Blocks of README.md and docs/how-to.md in Python are run by test_docs.py, which also looks at what they give.
"""

import contextlib
import io
import re
import runpy
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit import config

from explorer import checkpoints
from explorer.cli.main import main, parser
from explorer.images import PHOTOS
from scripts.container import IMAGE, SHUT_IN, instructions
from tests.conftest import keep_speed
from tests.test_inspect import their_name

ROOT = Path(__file__).parents[1]
TEXTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"(?:^ *<!-- checked, not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^ *```(?P<language>[\w{}-]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
IN_TEST_DOCS = {"README.md": 1, "docs/how-to.md": 5}
"""How many blocks in Python test_docs.py runs."""
OURS = ("python -m explorer", "cnn-resnet-explorer")
# Programs that are not installed here, or that would change this machine: bash checks the syntax of their lines.
OTHERS = {"python", "python3", "ray", "curl", "sudo", "git"}


class Block(NamedTuple):
    file: str
    language: str
    code: str
    reason: str | None

    @property
    def lines(self) -> list[str]:
        """The commands of a shell, without comments; a line that ends with a backslash goes on in the next."""
        return [line for line in self.code.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]


def blocks() -> list[Block]:
    found = []
    for text in TEXTS:
        for fence in FENCE.finditer(text.read_text(encoding="utf-8")):
            code = textwrap.dedent(fence["code"])
            found.append(Block(text.relative_to(ROOT).as_posix(), fence["language"], code, fence["reason"]))
    return found


BLOCKS = blocks()


def test_no_block_is_overlooked() -> None:
    fences = {
        text.relative_to(ROOT).as_posix(): len(re.findall(r"^ *```", text.read_text(encoding="utf-8"), re.MULTILINE))
        for text in TEXTS
    }
    assert sum(fences.values()) == 2 * len(BLOCKS), "a fence does not close, or begins in a way that is not known here"
    kinds = {"python", "sh", "powershell", "{eval-rst}"}  # the last one names docstrings, which test_site.py looks for
    assert not {(block.file, block.language) for block in BLOCKS if block.language not in kinds}
    for file, count in IN_TEST_DOCS.items():
        assert len([block for block in BLOCKS if block.file == file and block.language == "python"]) == count


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with what the recipes take as given: a photo, two folders of pictures, weights of somebody."""
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copy(PHOTOS["scene-airplane"].file, folder / "photo.jpg")
    random = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{number}.png")
    ours = checkpoints.load_pretrained("cifar10jpeg-resnet-8").network.state_dict()
    state = {their_name(key): value for key, value in ours.items()}  # as akamaster's program writes it
    torch.save({"state_dict": state, "best_prec1": 80.0}, folder / "their.pth")
    return folder


FILES = sorted({block.file for block in BLOCKS if block.language in ("python", "sh")} - {*IN_TEST_DOCS})


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("file", FILES)
def test_the_blocks_of_a_page_run_in_their_order(
    file: str, folder: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    keep_speed(data_folder)
    for block in BLOCKS:
        if block.file == file and not block.reason and block.language == "sh":
            for line in block.lines:
                run_command(line)
        elif block.file == file and not block.reason and block.language == "python":
            program = folder / "example.py"
            program.write_text(block.code)
            runpy.run_path(str(program))


def run_command(line: str) -> None:
    """One of our commands, in this process; `>FILE` at its end takes what it prints."""
    assert line.startswith(OURS), f"`{line}` is not run: say above its block why"
    words = shlex.split(line, comments=True)
    arguments = words[3 if words[0] == "python" else 1 :]
    target = arguments.pop()[1:] if arguments[-1].startswith(">") else None
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    assert status == 0, f"`{line}`: {err.getvalue()}"
    assert out.getvalue().strip(), line
    if target:
        Path(target).write_text(out.getvalue())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason], ids=lambda block: block.file)
def test_a_block_that_is_not_run_has_no_mistake(block: Block) -> None:
    if block.language == "python":
        compile(block.code, block.file, "exec")
        return
    lines = block.lines
    if block.language == "powershell":
        lines = [re.sub(r"^py |^\.venv\\Scripts\\python ", "python ", line) for line in lines]
        lines = [re.sub(r"^python -m (?!venv)", "", line) for line in lines]
    subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, check=True)
    for line in lines:
        for command in re.split(r" && ", line):
            check_command(command)


def check_command(command: str) -> None:
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # a variable for this command alone
        words.pop(0)
    program, *rest = words
    if "explorer" in words and (program == "torchrun" or words[:3] == ["python", "-m", "explorer"]):
        check_arguments(words[words.index("explorer") + 1 :])
    elif program == "cnn-resnet-explorer":
        check_arguments(rest if rest and not rest[0].startswith("-") else ["app", *rest])
    elif program in CHECKS:
        CHECKS[program](rest)
    else:
        assert program in OTHERS, f"`{command}` is neither run nor checked"


def check_arguments(arguments: list[str]) -> None:
    if not {"--help", "COMMAND"} & {*arguments}:
        parser().parse_args(arguments)  # raises ValueError with the reason
    elif arguments[0] not in ("--help", "COMMAND"):
        parser().parse_args([arguments[0], *(["x"] if arguments[0] not in ("app",) else [])])


def check_make(rest: list[str]) -> None:
    assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), rest


def check_pip(rest: list[str]) -> None:
    assert rest[0] == "install", rest
    for word in rest[1:]:
        assert word.startswith(("-", "git+")) or (ROOT / word.partition("[")[0]).exists(), word


def check_streamlit(rest: list[str]) -> None:
    assert rest[0] == "run" and (ROOT / rest[1]).is_file(), rest
    known = config.get_config_options()
    for option in rest[2:]:
        assert option.removeprefix("--").partition("=")[0] in known, option


def check_docker(rest: list[str]) -> None:
    """The lines are those at the top of the Dockerfile and of compose.yaml. They start the container as
    `make container` tries it, and give a program that asks for a password a terminal: without one it prints nothing."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    tops = (
        text.partition("\nARG ")[0] + "\n" + (ROOT / "compose.yaml").read_text(encoding="utf-8").partition("\nname:")[0]
    )
    comments = re.sub(r"^#", "", tops, flags=re.MULTILINE).replace("\\\n", " ")
    known = [line.partition("docker ")[2].split() for line in comments.splitlines() if "docker " in line]
    assert rest in known, f"`docker {shlex.join(rest)}` is none of {known}"
    if rest[-1] == "hash-password":
        assert "-it" in rest
    elif rest[0] == "run":
        assert rest[1 : 1 + len(SHUT_IN)] == SHUT_IN and rest[-1] == IMAGE
        values = {step.keyword: step.value for step in instructions(text)}
        volume, address = (rest[rest.index(option) + 1] for option in ("-v", "-p"))
        assert volume.endswith(f":{values['VOLUME']}") and address == f"127.0.0.1:8501:{values['EXPOSE']}"


def check_activate(rest: list[str]) -> None:
    assert rest == [".venv/bin/activate"]


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "pip": check_pip,
    "streamlit": check_streamlit,
    "docker": check_docker,
    ".": check_activate,
}
