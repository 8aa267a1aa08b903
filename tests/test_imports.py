"""What an import takes with it: torchvision is 1.5 s and 160 MB, and Streamlit, Plotly and Captum are no less.

One new process imports one part after the other, and tells after each what has come: torch alone takes it seconds.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = {
    "runs": "import explorer.runs",
    "studies": "import explorer.studies",
    "a list of torchvision's networks": "from explorer.torchvision_models import PUBLISHED; assert PUBLISHED",
    "those that were downloaded": "from explorer.torchvision_models import downloaded; assert downloaded(folder) == ()",
    "training": "import explorer.training",
    "attribution": "import explorer.attribution",
    "the commands": "import explorer.__main__, explorer.cli.main, explorer.runs.execution",
}
"""None of them needs the packages of the screen; Captum, which imports matplotlib, comes with the first method."""
TELL = "found[{stage!r}] = sorted({{'streamlit', 'plotly', 'captum', 'matplotlib', 'torchvision'}} & {{*sys.modules}})"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The large packages that are there after each stage."""
    folder = tmp_path_factory.mktemp("cache")
    for name in ("alexnet-owt-7be5be79.pth", "resnet18.pth"):  # neither can be a file of torchvision's own
        (folder / name).touch()
    lines = ["import json, sys", "from pathlib import Path", f"folder, found = Path({str(folder)!r}), {{}}"]
    for stage, code in STAGES.items():
        lines += [code, TELL.format(stage=stage)]
    lines.append("print(json.dumps(found))")
    ran = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, list[str]] = json.loads(ran.stdout)
    return told


@pytest.mark.parametrize("stage", STAGES)
def test_an_import_takes_no_large_package_with_it_that_it_does_not_need(found: dict[str, list[str]], stage: str):
    assert found[stage] == []
