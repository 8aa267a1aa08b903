"""The rooms of `explorer/` import in one direction, and some constructs have no place in them at all.

Every test reads the syntax tree, so an import inside a function counts like one at the top. The rules themselves are
tested on bad snippets at the end: a rule that finds nothing wrong there would prove nothing here.

One file: whoever adds a rule needs the table of rooms above it and the bad snippets below it.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import pytest

LONGEST = 400  # lines that can be read in one go
ROOT = Path(__file__).parents[1]

# In the order of the design: each imports only from those before it.
ROOMS = (
    "installation",
    "requirements",
    "errors",
    "machine",
    "files",
    "intervals",
    "labels",
    "numbers",
    "downloads",
    "architectures",
    "presets",
    "images",
    "datasets",
    "checkpoints",
    "weights_import",
    "onnx_export",
    "torchvision_models",
    "tracing",
    "views",
    "training",
    "recordings",
    "pretrained",
    "runs",
    "stored_results",
    "attribution",
    "experiments",
    "studies",
    "figures",
    "ui",
    "cli",
    "__main__",
)

# Around them, too: each imports from those before it. What drives the app knows nothing of what is inside.
AROUND = ("driving", "benchmarks", "scripts", "tests")

# Narrower than the order.
NOT_OURS = {
    "images": {"architectures", "presets"},
    "datasets": {"architectures", "presets"},
    "cli": {"ui"},
    "__main__": {"ui"},
}

# Inside `ui`, pages import from folders, and folders from what is below: the files at the top, `api`,
# `viewer` and `widgets`. No
# folder imports from another, and nothing in a circle. What is not so:
UI_FOLDERS = {"explore", "compare", "gradients", "experiments", "build", "models"}
UI_BELOW = {"api", "viewer", "widgets"}
SERVICES = "explorer.ui.services"  # below all of `ui`, and without Streamlit
UI_EXCEPTIONS = {
    ("explorer.ui.compare.methods", "explorer.ui.explore.methods"),  # the same methods, for more networks
}

# Words and numbers for everyone: these rooms import none of ours, and figures may import all that is in them.
FOR_EVERYONE = {"labels", "numbers"}

# The only places that may import a package; packages that are not named here may be imported anywhere.
ONLY_IN = {
    "streamlit": {"app", "explorer.ui"},
    "cachetools": {SERVICES},
    "starlette": {"explorer.ui"},
    "plotly": {"explorer.figures"},
    "jinja2": {"explorer.figures"},
    "captum": {"explorer.attribution"},
    "onnx": {"explorer.weights_import", "explorer.onnx_export"},
    "pillow_heif": {"explorer.images"},
    "pydicom": {"explorer.images"},
    "ray": {"explorer.studies"},
    "psutil": {"explorer.machine"},
    "filelock": {"explorer.machine"},
}

# Packages of the tests that a module takes where they are installed, and does without where they are not.
OPTIONAL = {
    ("explorer.onnx_export", "onnxruntime"),
    ("explorer.studies.ray_connection", "ray"),
    ("explorer.studies.ray_engine", "ray"),
    ("explorer.studies.ray_node", "ray"),
    ("explorer.studies.ray_task", "ray"),
}

# Pictures and pages know no networks, and what draws pictures knows arrays only.
WITHOUT_TORCH = {"explorer.images", "explorer.datasets.shapes", "explorer.datasets.folders", "explorer.figures"}
WITHOUT_TORCH |= {
    "explorer.downloads",
    "explorer.datasets.archives",
    "explorer.datasets.label_tables",
    "explorer.datasets.layouts",
    "explorer.datasets.name_encodings",
    "explorer.datasets.split_names",
    "explorer.datasets.untrusted_files",
    "explorer.datasets.stored",
    "explorer.ui.pages",
}

# What answers the browser directly has no run of a page around it.
WITHOUT_STREAMLIT = {"explorer.ui.api"}

# Streamlit's private modules, and names of its page and its own addresses.
STREAMLIT_INTERNALS = re.compile(r"(?:from|import) streamlit\.|data-testid|dataset\.test[A-Z]|\.st[A-Z]|_stcore")

FORBIDDEN_FILE_NAMES = re.compile(r"_?(util|helper|manager|handler|common|misc)s?")
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "importlib.import_module", "os.system", "os.popen"}
FORBIDDEN_METHODS = {"extractall", "add_safe_globals"}
OPENS_WEIGHTS = {"explorer.weights_import.sandbox"}  # in a child with limits: the one place for files of others
FORBIDDEN_KEYWORDS = {"allow_pickle", "shell"}

# Where a package is imported under another name than it is installed.
IMPORT_NAMES = {"pillow": "PIL", "pillow-heif": "pillow_heif"}


@lru_cache(maxsize=1)  # the rules of one file follow each other, and all trees together take hundreds of megabytes
def nodes(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(source)))


@cache
def import_nodes(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of that source, which is parsed once for all rules that ask for them."""
    return tuple(node for node in nodes(source) if isinstance(node, ast.Import | ast.ImportFrom))


@cache
def sources() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "explorer").rglob("*.py"))]


def module_name(path: Path) -> str:
    """`explorer/ui/pages/explore.py` -> `explorer.ui.pages.explore`; a package has the name of its directory."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def room(module: str) -> str | None:
    """`explorer.ui.pages` -> `ui`; None for `explorer` itself and for all that is not ours."""
    parts = module.split(".")
    return parts[1] if parts[0] == "explorer" and len(parts) > 1 else None


def ui_place(module: str) -> str | None:
    """`explorer.ui.compare.maps` -> `compare`; the files at the top of `ui` are in None."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[2] in {*UI_FOLDERS, *UI_BELOW, "pages"} else None


def goes_up_in_ui(module: str, target: str) -> bool:
    """Whether one file of `ui` imports another that is in no place below its own."""
    if any(module == source and within(target, {exception}) for source, exception in UI_EXCEPTIONS):
        return False
    if within(module, {SERVICES}):
        return not within(target, {SERVICES})
    here, there = ui_place(module), ui_place(target)
    if there in UI_BELOW:
        return here in UI_BELOW - {there}
    return there not in {None, here} and not (here == "pages" and there in UI_FOLDERS)


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[str, str | None]]:
    """Every import as (absolute module, name taken from it or None for the module as a whole)."""
    for node in import_nodes(source):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        else:
            base = module.split(".")[: None if is_package else -1] if node.level else []
            base = base[: len(base) - node.level + 1] if node.level > 1 else base
            target = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from explorer import training` takes a room, not a name out of one.
                if target == "explorer" and alias.name in ROOMS:
                    yield f"explorer.{alias.name}", None
                else:
                    yield target, alias.name


def circle(files: dict[str, tuple[str, bool]]) -> list[str]:
    """The modules of a circle of imports, [] where there is none. `files` are (source, whether it is a package)."""
    graph: dict[str, set[str]] = {}
    for module, (source, is_package) in files.items():
        taken = list(imports(source, module, is_package))
        targets = {f"{target}.{name}" if f"{target}.{name}" in files else target for target, name in taken}
        graph[module] = targets & {*files} - {module}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def dotted(node: ast.expr) -> str:
    """`torch.load` for that expression, `` for one that is not names joined by dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


@cache
def value_types(module: str) -> set[str]:
    """Names of the dataclasses and enums that one of our modules, or a file of one of our packages, defines."""
    path = ROOT / Path(*module.split("."))
    files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.rglob("*.py"))
    return {
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        or isinstance(node, ast.ClassDef)
        and any(dotted(base).endswith("Enum") for base in node.bases)
    }


def wrong_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one of our modules, one line each."""
    here = room(module)
    if here not in {None, *ROOMS}:
        return [f"explorer/{here} has no place in ROOMS"]
    wrong = []
    for target, name in imports(source, module, is_package):
        package = target.split(".")[0]
        there = room(target)
        if target == "explorer" and name != "__version__":
            wrong.append(f"{module} imports `explorer` as a whole or {name!r} from it: name the room")
        elif module == "app" and package == "explorer" and there != "ui":
            wrong.append(f"app imports {target}: it may import only explorer.ui")
        elif module == "explorer" and package == "explorer":
            wrong.append(f"explorer/__init__.py imports {target}: it imports nothing")
        elif here and there and there != here:
            if there not in ROOMS or ROOMS.index(there) > ROOMS.index(here) or there in NOT_OURS.get(here, ()):
                wrong.append(f"{module} imports {target}, which is no room above it")
            elif here == "figures" and there not in FOR_EVERYONE and name not in value_types(target):
                wrong.append(f"{module} imports {name or 'all'} of {target}: figures may import only value types")
        elif here == there == "ui" and goes_up_in_ui(module, f"{target}.{name}" if name else target):
            wrong.append(
                f"{module} imports {name or 'all'} of {target}: pages -> folders -> api, viewer, widgets, top of ui"
            )
        elif package in ONLY_IN and not within(module, ONLY_IN[package]):
            wrong.append(f"{module} imports {package}: only {', '.join(sorted(ONLY_IN[package]))} may")
        elif package == "streamlit" and within(module, {SERVICES}):
            wrong.append(f"{module} imports {package}: it has to do without")
        elif package in {"torch", "torchvision"} and within(module, WITHOUT_TORCH):
            wrong.append(f"{module} imports {package}: it has to do without")
        elif package == "streamlit" and within(module, WITHOUT_STREAMLIT):
            wrong.append(f"{module} imports {package}: no run of a page is around it")
        elif (module, package) not in OPTIONAL and package not in {
            "explorer",
            *declared_packages(),
            *sys.stdlib_module_names,
        }:
            wrong.append(f"{module} imports {package}: requirements.txt does not name it")
    return wrong


@cache
def declared_packages() -> set[str]:
    names = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    return {IMPORT_NAMES.get(name, name) for name in names}


def forbidden_constructs(source: str) -> list[str]:
    """Everything in the source that runs code, or unpacks files, that somebody else wrote. One line each."""
    aliases: dict[str, str] = {}  # the name here -> the full name
    for taken in import_nodes(source):
        if isinstance(taken, ast.Import):
            aliases |= {alias.asname: alias.name for alias in taken.names if alias.asname}
        else:
            aliases |= {alias.asname or alias.name: f"{taken.module}.{alias.name}" for alias in taken.names}

    wrong = [
        f"imports {target}"
        for target, name in imports(source, "", False)
        if {target.split(".")[0], name} & FORBIDDEN_MODULES
    ]
    for node in nodes(source):
        if isinstance(node, ast.Name | ast.Attribute):
            first, *rest = dotted(node).split(".")
            name = ".".join([aliases.get(first, first), *rest])
            if name in FORBIDDEN_CALLS:
                wrong.append(f"line {node.lineno}: {name}")
        if not isinstance(node, ast.Call):
            continue
        watched = FORBIDDEN_KEYWORDS | {"weights_only"}
        keywords = {each.arg: ast.unparse(each.value) for each in node.keywords if each.arg in watched}
        first, *rest = dotted(node.func).split(".")
        name = ".".join([aliases.get(first, first), *rest])
        if name.startswith("torch.") and name.endswith(".load") and keywords.get("weights_only") != "True":
            wrong.append(f"line {node.lineno}: {name} without weights_only=True")
        if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_METHODS:
            wrong.append(f"line {node.lineno}: .{node.func.attr}")
        wrong += [
            f"line {node.lineno}: {keyword}={keywords[keyword]}"
            for keyword in sorted(FORBIDDEN_KEYWORDS & set(keywords))
            if keywords[keyword] != "False"
        ]
    return wrong


def raw_sentences(source: str) -> list[str]:
    """Every error or warning on a page that is neither written down there nor made harmless: it may hold a name that
    somebody chose, which would be Markdown."""

    def is_safe(node: ast.expr) -> bool:
        if isinstance(node, ast.JoinedStr):
            return all(is_safe(part.value) for part in node.values if isinstance(part, ast.FormattedValue))
        if isinstance(node, ast.Call):
            return dotted(node.func) in {"as_sentence", "as_text", "as_code", "unexpected_message"}
        return isinstance(node, ast.Constant)

    said = [node for node in nodes(source) if isinstance(node, ast.Call) and node.args]
    return [
        f"line {call.lineno}: {ast.unparse(call)}"
        for call in said
        if re.search(r"\bst\.(error|warning)\b", ast.unparse(call.func)) and not is_safe(call.args[0])
    ]


def opens_weights(source: str) -> bool:
    """Whether `torch.load` is named in the source, whatever it is given."""
    if "torch" not in source or "load" not in source:
        return False
    names = [
        alias.name
        for node in nodes(source)
        if isinstance(node, ast.ImportFrom) and node.module == "torch"
        for alias in node.names
    ]
    return "load" in names or any(
        isinstance(node, ast.Attribute) and dotted(node) == "torch.load" for node in nodes(source)
    )


def test_every_file_has_a_place_in_the_design():
    unknown = [path for path in sources()[1:] if room(module_name(path)) not in {None, *ROOMS}]
    assert not unknown, "a new room needs a noun of the design and a place in ROOMS"


def test_every_folder_of_the_pages_is_known():
    folders = {path.parent.name for path in (ROOT / "explorer" / "ui").glob("*/*.py")}
    assert folders == {*UI_FOLDERS, *UI_BELOW, "pages", "services"}


def test_what_is_for_everyone_imports_nothing_of_ours():
    for name in FOR_EVERYONE:
        source = (ROOT / "explorer" / f"{name}.py").read_text()
        assert not [target for target, _ in imports(source, f"explorer.{name}", False) if room(target)]


def test_every_exception_is_in_use():
    for module, exception in UI_EXCEPTIONS:
        source = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text()
        assert any(exception in (target, f"{target}.{name}") for target, name in imports(source, module, False))


def reason_for_one_file(text: str, suffix: str) -> str:
    """The sentence in the docstring or the first comment of a file on why it is not two, "" for none."""
    if "One file" not in text:
        return ""
    about = ast.get_docstring(ast.parse(text)) or "" if suffix == ".py" else text.partition("\n\n")[0]
    found = re.search(r"^(?:// )?(One file\b.+)", about, re.MULTILINE)
    return found[1] if found else ""


def test_a_long_file_says_why_it_is_one_and_a_short_one_does_not():
    for folder in ("explorer", *AROUND):
        for path in (path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".js", ".mjs", ".ts")):
            text = path.read_text()
            is_long, reason = len(text.splitlines()) > LONGEST, reason_for_one_file(text, path.suffix)
            assert is_long == bool(reason), (
                f"{path.relative_to(ROOT)}, of at most {LONGEST} lines? {not is_long}: {reason!r}"
            )


@pytest.mark.parametrize(
    ("text", "suffix", "reason"),
    [
        ('"""Rules.\n\nOne file: each is short.\n"""\n', ".py", "One file: each is short."),
        ('"""Rules of one file."""\n\n# One file: no docstring.\n', ".py", ""),
        ("// Types.\n// One file for all of them.\n\nlet a;\n", ".ts", "One file for all of them."),
        ("// Types.\n\n// One file: too late.\n", ".js", ""),
    ],
)
def test_the_reason_for_a_long_file_stands_at_its_beginning(text, suffix, reason):
    assert reason_for_one_file(text, suffix) == reason


def test_what_streamlit_does_not_document_is_used_by_four_functions_of_one_file():
    files = [*sources(), *(ROOT / "explorer").rglob("*.js"), *(ROOT / "explorer").rglob("*.css")]
    using = [path for path in files if STREAMLIT_INTERNALS.search(path.read_text())]
    (path,) = using
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert path.stem == "streamlit_internals" and len(functions) == 4
    assert all("Streamlit" in (ast.get_docstring(node) or "") for node in functions)
    for use in (
        "from streamlit.runtime.x import y",
        "import streamlit.web",
        "[data-testid=stApp]",
        ".stMain",
        "_stcore/",
    ):
        assert STREAMLIT_INTERNALS.search(use), use
    assert not STREAMLIT_INTERNALS.search("import streamlit as st\nst.components.v2.component\n.strip")


def test_no_files_import_each_other():
    assert not circle({module_name(path): (path.read_text(), path.name == "__init__.py") for path in sources()})


def test_a_circle_is_found():
    late = "def late():\n    from . import b"
    assert set(circle({"explorer.a": (late, False), "explorer.b": ("from explorer.a import x", False)})) == {
        "explorer.a",
        "explorer.b",
    }
    assert not circle({"explorer.a": ("from explorer.b import a", False), "explorer.b": ("import explorer", False)})
    package = {"explorer.p": ("from explorer.p.a import x", True), "explorer.p.a": ("from explorer.p import b", False)}
    assert not circle({**package, "explorer.p.b": ("", False)}), "it takes the file of the package alone"
    assert circle({**package, "explorer.p.b": ("from explorer import p", False)})


def test_no_file_is_named_for_being_useful():
    assert not [path for path in sources() if FORBIDDEN_FILE_NAMES.search(path.stem)]


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_go_one_way_and_nothing_runs_foreign_code(path):
    source = path.read_text()
    assert not wrong_imports(source, module_name(path), path.name == "__init__.py")
    assert not forbidden_constructs(source)
    if "ui" in path.parts:
        assert not raw_sentences(source), "names in the sentences of a page are only text"


@pytest.mark.parametrize("place", AROUND[:-1])
def test_what_stands_around_imports_one_way(place):
    later = {*AROUND[AROUND.index(place) + 1 :]} | ({"explorer"} if place == "driving" else set())
    for path in sorted((ROOT / place).rglob("*.py")):
        module = module_name(path)
        for target, _ in imports(path.read_text(), module, path.name == "__init__.py"):
            assert target.partition(".")[0] not in later, f"{module} imports {target}"


@pytest.mark.parametrize(
    "source", ["st.error(str(error))", "st.warning(f'{name} is full.')", "(st.error if bad else st.warning)(words[0])"]
)
def test_a_raw_sentence_is_found(source):
    assert len(raw_sentences(source)) == 1


@pytest.mark.parametrize(
    "source", ["st.error(as_sentence(text))", "st.warning(f'{as_text(name)} is full.')", "st.info(words)", "x.error(y)"]
)
def test_a_harmless_sentence_is_not(source):
    assert not raw_sentences(source)


def test_weights_of_others_are_opened_in_one_place_only():
    assert {module_name(path) for path in sources() if opens_weights(path.read_text())} == OPENS_WEIGHTS
    assert opens_weights("import torch\nload = torch.load") and opens_weights("from torch import load as x")
    assert not opens_weights("import torch\ntorch.jit.load(f)\nnumpy.load(f)")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("explorer.tracing", "import explorer.ui"),
        ("explorer.tracing", "from explorer import figures"),
        ("explorer.tracing", "from explorer.figures import strip"),
        ("explorer.tracing", "from .figures import strip"),
        ("explorer.tracing", "from . import figures"),
        ("explorer.tracing", "def late():\n    from explorer.ui.services import explore_state"),
        ("explorer.tracing", "try:\n    import explorer.ui.session as s\nexcept ImportError:\n    pass"),
        ("explorer.tracing", "import explorer"),
        ("explorer.tracing", "from explorer import *"),
        ("explorer.tracing", "from explorer.unheard_of import x"),
        ("explorer.unheard_of", "import math"),
        ("explorer.tracing", "import streamlit as st"),
        ("explorer.tracing", "import pandas"),
        ("explorer.datasets.folders", "from ..architectures import build"),
        ("explorer.datasets.folders", "from torch import nn"),
        ("explorer.images", "import torchvision"),
        ("explorer.training", "from captum.attr import Saliency"),
        ("explorer.checkpoints", "from explorer.training import TrainingConfig"),
        ("explorer.ui.pages.explore", "import torch"),
        ("explorer.ui.pages.explore", "from ...__main__ import main"),
        ("explorer.ui.services.explore_state", "import plotly.graph_objects as go"),
        ("explorer.ui.services.explore_state", "from explorer.ui.compare.comparison import CompareState"),
        ("explorer.ui.services.explore_state", "from explorer.ui import explore"),
        ("explorer.ui.server", "from explorer.ui.explore import view"),
        ("explorer.ui.api.message", "from explorer.ui.explore.view import load_view"),
        ("explorer.ui.api.message", "from explorer.ui import viewer"),
        ("explorer.ui.viewer.places", "from ..api import explain"),
        ("explorer.ui.viewer.places", "from explorer.ui.pages import explore"),
        ("explorer.ui.api.layers", "import streamlit as st"),
        ("explorer.ui.compare.maps", "from explorer.ui.explore import tabs"),
        ("explorer.ui.compare.maps", "from ..explore.tabs import view"),
        ("explorer.ui.compare.methods", "from explorer.ui.explore.tabs import view"),
        ("explorer.ui.compare.maps", "from explorer.ui.pages import compare"),
        ("explorer.ui.services.caches", "from explorer.ui.session import SessionData"),
        ("explorer.ui.services.caches", "import streamlit as st"),
        ("explorer.ui.widgets.long_task", "import cachetools"),
        ("explorer.ui.build.training_charts", "def late():\n    import explorer.ui.gradients.flow_view"),
        ("explorer.figures", "from explorer.architectures import build"),
        ("explorer.figures", "import explorer.architectures"),
        ("explorer.figures", "from explorer.intervals import accuracy"),
        ("explorer.__main__", "from explorer.ui.services import explore_state"),
        ("explorer", "from explorer.training import fit"),
        ("app", "from explorer.training import fit"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    assert len(wrong_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("explorer.presets", "from .architectures import ArchitectureSpec"),
        ("explorer.figures", "from explorer.architectures import ArchitectureSpec"),
        ("explorer.figures", "from explorer.labels import NORMS\nfrom explorer.numbers import finite"),
        ("explorer.datasets.folders", "from ..images import pixels\nfrom . import shapes\nimport numpy, PIL.Image"),
        (
            "explorer.ui.pages.explore",
            "from explorer.ui.services.explore_state import AppState\nimport streamlit as st",
        ),
        ("explorer.ui.pages.explore", "from explorer.ui.explore import faithfulness\nimport explorer.ui.compare.maps"),
        ("explorer.ui.compare.maps", "from . import controls\nfrom .. import network_registry, session"),
        ("explorer.ui.compare.methods", "from explorer.ui.explore.methods import SIDE"),
        ("explorer.ui.server", "from explorer.ui.api import explain"),
        ("explorer.ui.explore.view", "from ..api.explore_session import SESSIONS"),
        ("explorer.ui.pages.explore", "from explorer.ui.viewer.places import overview"),
        ("explorer.ui.api.message", "from explorer.ui.services.inference import NetworkResult"),
        ("explorer.ui.services.inference", "from explorer.ui.services.caches import CACHES"),
        ("explorer.ui.services.caches", "import cachetools\nfrom explorer.images import decode"),
        ("explorer.__main__", "import argparse\nfrom explorer import training, __version__"),
        ("explorer.attribution", "import captum.attr"),
        ("app", "import streamlit as st\nfrom explorer.ui.pages import explore"),
    ],
)
def test_a_right_import_is_not(module, source):
    assert not wrong_imports(source, module)


def test_a_relative_import_of_a_package_starts_in_the_package():
    assert not wrong_imports("from .shapes import draw", "explorer.datasets", is_package=True)
    assert wrong_imports("from ..ui import session", "explorer.datasets", is_package=True)


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('1')",
        "builtin = eval",
        "import importlib\nimportlib.import_module('x')",
        "from importlib import import_module\nimport_module('x')",
        "import pickle",
        "from joblib import load",
        "def late():\n    import dill as d",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "import torch\ntorch.load(f, weights_only=safe)",
        "import torch as t\nt.load(f, **options)",
        "from torch import load\nload(f)",
        "import torch\ntorch.jit.load(f)",
        "numpy.load(f, allow_pickle=True)",
        "archive.extractall(folder)",
        "import torch\ntorch.serialization.add_safe_globals([Net])",
        "subprocess.run(command, shell=True)",
        "import os\nos.system(command)",
    ],
)
def test_a_forbidden_construct_is_found(source):
    assert len(forbidden_constructs(source)) == 1


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "import torch\ntorch.load(f, weights_only=True)", "numpy.load(f)", "run(command, shell=False)"],
)
def test_a_harmless_construct_is_not(source):
    assert not forbidden_constructs(source)
