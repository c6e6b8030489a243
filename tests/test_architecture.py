"""The house has the walls that its plan says."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skdpal

PACKAGE = Path(skdpal.__file__).parent
LEVELS = {
    "privacy": 0,
    "estimators": 1,
    "query": 1,
    "datasets": 1,
    "model_selection": 2,
    "cohort": 3,
    "learner": 4,
    "report": 5,
    "audit": 5,
    "demo": 6,
    "cli": 7,
}
# public randomness (groups, splits) and seeded comparisons; noise has one home
RANDOM = {"privacy/randomness.py", "learner/groups.py", "learner/benchmark.py"}
LONG = {"privacy/ledger.py": 450}  # every public verb of the ledger with its documentation


def imports(source, module):
    """All packages of skdpal that a module imports, at top level or late, absolute or relative."""
    parts = module.split(".")
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            name = ".".join(filter(None, [base, node.module or ""]))
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.split(".")[1] for name in found if name.startswith("skdpal.")} & set(LEVELS)


def violations(source, module):
    """Imports that point up, or to a sibling."""
    own = module.split(".")[1]
    return {other for other in imports(source, module) if other != own and LEVELS[other] >= LEVELS[own]}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path):
    return ".".join(["skdpal", *path.relative_to(PACKAGE).with_suffix("").parts])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    assert not violations(path.read_text(encoding="utf-8"), name_of(path))


@pytest.mark.parametrize(
    "source",
    [
        "import skdpal.learner",
        "from skdpal.query import PrivateQuery",
        "from skdpal import learner",
        "def late():\n    from ..learner import plan",
        "import importlib\nimportlib.import_module('skdpal.report')",
    ],
)
def test_a_planted_import_is_found(source):
    assert violations(source, "skdpal.estimators.planted")


def test_every_package_has_a_level():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages | {"cli", "demo"} <= set(LEVELS)


def test_importing_skdpal_is_light():
    code = (
        "import sys, skdpal; heavy = {'torch', 'modAL', 'matplotlib', 'opendp', 'sklearn'} & set(sys.modules); "
        "sys.exit(' '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_small(path):
    name = path.relative_to(PACKAGE).as_posix()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONG.get(name, 400)


def draws(source):
    return re.findall(
        r"np\.random|numpy\.random|default_rng|RandomState|urandom|torch\.(?:randn|normal|rand)\b", source
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_noise_has_one_home(path):
    if path.relative_to(PACKAGE).as_posix() not in RANDOM:
        assert not draws(path.read_text(encoding="utf-8"))


def test_a_planted_draw_is_found():
    assert draws("noise = np.random.normal(size=3)")


def test_the_kernel_imports_nothing_heavy():
    allowed = {"numpy", "scipy", "pandas", "sqlalchemy", "opendp", "skdpal"} | set(sys.stdlib_module_names)
    for path in (PACKAGE / "privacy").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert {name.split(".")[0] for name in names} <= allowed, path
