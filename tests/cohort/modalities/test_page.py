"""The blocks of docs/guide/modalities.md run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "modalities.md"
FIRST, SECOND = (
    re.findall(r"```python\n(.*?)```", half, re.DOTALL)
    for half in PAGE.read_text(encoding="utf-8").split("## AnnData, MuData and notes")
)


def run(blocks):
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_blocks_run_and_say_what_the_page_says(capsys):
    names = run(FIRST)
    assert names["ledger"].spent() == pytest.approx(1.28, abs=0.005)
    assert names["study"].certificate()["status"] == "valid"
    told = names["modality_guarantees"](names["study"])["epsilon"]
    assert told[["rna", "mirna"]].notna().all()
    assert told[["rppa"]].isna().all()
    said = capsys.readouterr().out
    assert said.startswith("1.28\n")
    assert "cap 'rna'" in said
    table = PAGE.read_text(encoding="utf-8").split("| zeros |")[1].split("\n\n")[0]
    for rna, methylation in re.findall(r"rna moves by ([\d.]+), methylation by ([\d.]+)", said)[1:]:
        assert f" {methylation} |" in table
        assert rna == "0.00" or f"| {rna} |" in table


def test_the_blocks_on_mudata_run(omics_packages, capsys):
    names = run(SECOND)
    assert names["told"]["status"] == "valid"
    assert not names["told"]["may_leave"]
