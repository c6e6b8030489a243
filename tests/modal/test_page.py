"""The blocks of docs/guide/modal.md run as they stand."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "modal.md"
START, *BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

pytestmark = pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")


def test_there_are_blocks_for_each_learner():
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS, ids=["modal", "private", "committee", "activeml"])
def test_a_block_runs(block):
    if block.startswith("# scikit-learn below 1.8") and parse_version(sklearn.__version__) >= parse_version("1.8"):
        pytest.skip(f"modAL 0.4.1 cannot teach with scikit-learn {sklearn.__version__}")
    if "skactiveml" in block and find_spec("skactiveml") is None:
        pytest.skip("the extra activeml is not installed")
    names = {}
    exec(compile(START + block, str(PAGE), "exec"), names)
    assert names["ledger"].spent() <= 2.0
    assert names["ledger"].hidden_rounds >= 1
    assert names["ledger"].certificate()["status"] == "valid"
