"""The house has the walls that its plan says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skdpal

PACKAGE = Path(skdpal.__file__).parent
# Imports point down this list; rooms of one floor do not import each other.
FLOORS = [
    {"privacy"},
    {"estimators", "query", "datasets"},
    {"model_selection"},
    {"cohort"},
    {"learner"},
    {"report", "audit"},
    {"demo"},
    {"cli"},
]
LEVELS = {room: level for level, floor in enumerate(FLOORS) for room in floor}
# noise has one home; groups, splits and seeded comparisons draw public randomness
# a network that is pre-trained on public data starts from a public seed
RANDOM = {
    "privacy/randomness.py",
    "privacy/samplers.py",
    "learner/groups.py",
    "learner/benchmark.py",
    "estimators/public/pretraining.py",
}
HEAVY = {
    "torch",
    "skorch",
    "opacus",
    "modAL",
    "matplotlib",
    "opendp",
    "dp_accounting",
    "sklearn",
    "skdpal.learner",
    "skdpal.estimators",
}

MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [path for path in MODULES if path != PACKAGE / "__init__.py"]


def name_of(path):
    """The dotted name of a file; a package's own file ends in __init__."""
    return ".".join(["skdpal", *path.relative_to(PACKAGE).with_suffix("").parts])


def place_of(path):
    return path.relative_to(PACKAGE).as_posix()


def text_of(path):
    return path.read_text(encoding="utf-8")


def imported(source, module):
    """Everything that a module imports, by full name: at the top or late, absolute, relative, by string or by a table of strings."""
    found, tree = set(), ast.parse(source)
    tables = {node.targets[0].id: node.value for node in tree.body if _is_table(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__"):
                found |= named(node.args[0] if node.args else None, tables)
    return found


def _is_table(node):
    """Whether a statement names a literal mapping, as `_LATE = {"PublicEncoder": "skdpal.estimators"}` does."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)


def named(argument, tables):
    """The modules that an argument of `import_module` can name."""
    if isinstance(argument, ast.Constant):
        return {argument.value}
    if isinstance(argument, ast.JoinedStr) and isinstance(argument.values[0], ast.Constant):
        start = argument.values[0].value  # f"skdpal.cohort.experts.{...}": the room is fixed, what is in it is not
        return {start + "<computed>" if start.count(".") > 1 else "skdpal.<computed>"}
    values = tables[argument.value.id].values if _looks_up(argument, tables) else [None]
    return {value.value if isinstance(value, ast.Constant) else "skdpal.<computed>" for value in values}


def _looks_up(argument, tables):
    """Whether it is an entry of a literal mapping."""
    return isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name) and argument.value.id in tables


def violations(source, module):
    """Imports that point up, to a sibling, or nowhere that can be known."""
    own = module.split(".")[1]
    wrong = set()
    for name in imported(source, module):
        parts = name.split(".")
        if parts[0] != "skdpal":
            continue
        room = parts[1] if len(parts) > 1 else "skdpal itself"
        # a name from skdpal itself could come from any room
        if room != own and LEVELS.get(room, len(FLOORS)) >= LEVELS[own]:
            wrong.add(name)
    return wrong


def eager(source, module):
    """Rooms that are imported as soon as the module is."""
    body = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = imported(ast.unparse(ast.Module(body, [])), module)
    return {name.split(".")[1] for name in names if name.startswith("skdpal.")}


def draws(source):
    """Uses of random numbers, by the name of what is used."""
    tree = ast.parse(source)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {part for name in imported(source, "skdpal.x.y") for part in name.split(".") if "skdpal" not in name}
    used = names & {
        "default_rng",
        "RandomState",
        "urandom",
        "randn",
        "secrets",
        "random_sample",
        "getrandbits",
        "SystemRandom",
    }
    modules = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return (
        used
        | ({"np.random", "numpy.random", "torch.normal", "torch.rand"} & modules)
        | ({"random"} & {name.split(".")[0] for name in imported(source, "skdpal.x.y")})
        | {name for name in imported(source, "skdpal.x.y") if name.startswith("numpy.random")}
    )


@pytest.mark.parametrize("path", ROOMS, ids=name_of)
def test_imports_point_one_way(path):
    assert not violations(text_of(path), name_of(path))


@pytest.mark.parametrize(
    "source",
    [
        "import skdpal.learner",
        "import skdpal.learner.plan as plan",
        "from skdpal.query import PrivateQuery",
        "from skdpal import learner",
        "from .. import learner",
        "from ..query.utility import margin",
        "def late():\n    from ..learner import plan",
        "class A:\n    def late(self):\n        import skdpal.cli",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from skdpal.report import write_report",
        "try:\n    import skdpal.audit\nexcept ImportError:\n    pass",
        "import importlib\nimportlib.import_module('skdpal.report')",
        "from importlib import import_module\nimport_module('skdpal.' + 'report')",
        "__import__('skdpal.model_selection')",
        "_LATE = {'a': 'skdpal.learner'}\ndef late(name):\n    return import_module(_LATE[name])",
        "_LATE = {'a': 'skdpal.privacy'}\ndef late(name):\n    return import_module(_OTHER[name])",
        "def late(name):\n    return import_module(f'skdpal.learner.{name}')",
        "def late(name):\n    return import_module(f'skdpal.{name}')",
        "from skdpal import PrivateQuery",  # past the floors, through the front door
        "import skdpal",
        "from skdpal.unheard_of import thing",
    ],
)
def test_a_planted_import_upwards_or_sideways_is_found(source):
    assert violations(source, "skdpal.estimators.planted")


@pytest.mark.parametrize(
    "source",
    [
        "from skdpal.privacy import events",
        "from skdpal.privacy.ledger import PrivacyLedger",
        "from skdpal.estimators.prior import PublicPrior",
        "from .prior import PublicPrior",
        "from . import prior",
        "from ..privacy import events",
        "import sklearn.learner",
        "_LATE = {'a': 'skdpal.privacy'}\ndef late(name):\n    return import_module(_LATE[name])",
        "def late(name):\n    return import_module(f'skdpal.estimators.{name}')",
    ],
)
def test_imports_downwards_and_inside_a_room_are_fine(source):
    assert not violations(source, "skdpal.estimators.planted")


def test_relative_imports_of_a_package_file_start_at_the_package():
    assert imported("from .plan import plan_study", "skdpal.learner.__init__") == {"skdpal.learner.plan.plan_study"}


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    rooms |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms <= set(LEVELS)


def test_the_front_door_opens_the_kernel_only():
    assert eager(text_of(PACKAGE / "__init__.py"), "skdpal.__init__") == {"privacy"}


def test_a_planted_eager_import_is_found():
    assert eager("from skdpal.privacy import events\nimport skdpal.learner", "skdpal.__init__") == {
        "privacy",
        "learner",
    }


def test_importing_skdpal_is_light():
    code = f"import sys, skdpal; sys.exit(' '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_kernel_imports_nothing_heavy():
    allowed = {"numpy", "scipy", "pandas", "sqlalchemy", "opendp", "dp_accounting", "skdpal"} | set(
        sys.stdlib_module_names
    )
    for path in (PACKAGE / "privacy").rglob("*.py"):
        assert {name.split(".")[0] for name in imported(text_of(path), name_of(path))} <= allowed, path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_small(path):
    assert len(text_of(path).splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_noise_has_one_home(path):
    if place_of(path) not in RANDOM:
        assert not draws(text_of(path))


@pytest.mark.parametrize("place", sorted(RANDOM))
def test_exceptions_are_still_needed(place):
    assert draws(text_of(PACKAGE / place)) or len(text_of(PACKAGE / place).splitlines()) > 400


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnoise = np.random.normal(size=3)",
        "import numpy\nnumpy.random.seed(0)",
        "from numpy import random",
        "from numpy.random import normal",
        "from numpy.random import default_rng as rng",
        "from sklearn.utils import check_random_state\nimport numpy as np\nnp.random.RandomState(0)",
        "import os\nos.urandom(8)",
        "from os import urandom",
        "import random",
        "from random import gauss",
        "import secrets",
        "import torch\ntorch.normal(0, 1, (3,))",
        "import torch\ntorch.randn(3)",
    ],
)
def test_a_planted_draw_is_found(source):
    assert draws(source)


def test_what_is_only_called_random_is_no_draw():
    source = (
        '"""No random_state; np.random is never used."""\nUTILITIES = {"random": random}\ndef random(x):\n    return x'
    )
    assert not draws(source)
