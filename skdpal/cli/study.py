"""`skdpal study`: run a study over weeks."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from skdpal.cli.screen import console, plain_errors, plan_of, protocol, show_plan
from skdpal.cli.tables import patients_of, public_of

__all__ = ["study"]

FOLDER = click.argument("folder", type=click.Path(path_type=Path))
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _open(folder: Path) -> Any:
    from skdpal.learner import ActiveLearningStudy

    return ActiveLearningStudy.open(folder)


@click.group()
def study() -> None:
    """Run a study: new, then next, submit and release in turn, over weeks.

    Run it inside the hospital: FOLDER/hospital-only, worksheets and messages about them stay there.
    """


@study.command()
@FOLDER
@click.option("--patients", type=FILE, required=True, help="Table of patients: .csv, .tsv or .parquet, one row each.")
@click.option("--id-column", default="patient", show_default=True, help="Column of PATIENTS with their ids.")
@click.option("--show", multiple=True, metavar="COLUMN", help="Column of PATIENTS for the worksheet; repeat.")
@click.option("--labelled", metavar="COLUMN", help="Column of PATIENTS: not empty for those who may start.")
@click.option("--public", "public_file", type=FILE, required=True, help="Table of PUBLIC samples with labels.")
@click.option("--label-column", default="label", show_default=True, help="Column of PUBLIC with the labels.")
@click.option("--public-id-column", help="Column of PUBLIC with ids, if there is one.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Column of PUBLIC that is no measurement; repeat.")
@click.option(
    "--sample-scaling",
    type=click.Choice(["none", "standardize", "rank"]),
    default="standardize",
    show_default=True,
    help="How each sample is scaled by itself.",
)
@protocol(n_labelled=None, n_pool=None, n_evaluation=0)
@click.option("--utility", default="margin", show_default=True, help="What makes a patient worth asking about.")
@click.option("--group-seed", default=0, show_default=True, help="Public randomness of the groups.")
@click.option("--reader", multiple=True, help="Name of a pathologist who reads every case alone; repeat.")
@click.option("--release-date", multiple=True, metavar="YYYY-MM-DD", help="Day of each release, in order; repeat.")
@click.option("--release-every", type=int, metavar="DAYS", help="Instead: days between releases.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def new(
    folder: Path,
    patients: Path,
    id_column: str,
    show: tuple[str, ...],
    labelled: str | None,
    public_file: Path,
    label_column: str,
    public_id_column: str | None,
    ignore: tuple[str, ...],
    sample_scaling: str,
    utility: str,
    group_seed: int,
    reader: tuple[str, ...],
    release_date: tuple[str, ...],
    release_every: int | None,
    yes: bool,
    **options: Any,
) -> None:
    """Plan a study and make FOLDER for it; nothing is spent yet."""
    with plain_errors():
        from skdpal.estimators import DPPrototypeClassifier, PublicEncoder
        from skdpal.learner import ActiveLearningStudy

        plan = plan_of(**options)
        X_public, y_public = public_of(public_file, label_column, public_id_column, ignore)
        X, ids = patients_of(patients, id_column, [*show, *([labelled] if labelled else [])])
        scaling = None if sample_scaling == "none" else sample_scaling
        encoder = PublicEncoder(n_components=plan.n_components, sample_scaling=scaling).fit(X_public, y_public)
        begun = ActiveLearningStudy(
            folder,
            plan,
            encoder,
            DPPrototypeClassifier.prior_from_public(encoder.transform(X_public), y_public),
            reference=encoder.out_of_sample(X_public, y_public),
            utility=utility,
            group_seed=group_seed,
            readers=reader,
            release_dates=release_date or None,
            release_every=release_every,
        )
        starters = None if labelled is None else _filled(X, labelled, ids)
        known = X.drop(columns=[name for name in (labelled,) if name is not None and name not in show])
        show_plan(plan)
        console.print(
            f"classes: {', '.join(sorted(set(y_public)))}; {encoder.match_report(known.drop(columns=list(show)))}",
            markup=False,
        )
        if not yes:
            click.confirm("Run this study? The plan can never be changed.", abort=True)
        begun.enrol(known, record_ids=ids, worksheet_columns=list(show), labelled=starters)
    console.print(f"made {folder}; next: skdpal study next {folder}", soft_wrap=True, markup=False)


@study.command(name="next")
@FOLDER
def next_(folder: Path) -> None:
    """Write the worksheet of the current step; asked again, the same one."""
    with plain_errors():
        sheet = _open(folder).next_batch()
    console.print(f"worksheet of {sheet.step}, for the pathologist only:", markup=False)
    for path in (sheet.excel, sheet.csv):
        console.print(f"  {path}", soft_wrap=True, markup=False)


@study.command()
@FOLDER
@click.argument("file", type=FILE)
@click.option("--partial", is_flag=True, help="Store an unfinished worksheet; the rest may come later.")
def submit(folder: Path, file: Path, partial: bool) -> None:
    """Check the filled-in worksheet FILE (.csv or .xlsx) and store its labels."""
    with plain_errors():
        _open(folder).submit(file, partial=partial)
    console.print(f"stored; next: skdpal study release {folder}", soft_wrap=True, markup=False)


@study.command()
@FOLDER
@click.option("--step", help='Which: "start", "round-1", ..., "evaluation". Default: the one whose worksheet is out.')
@click.option("--leave-out-missing", is_flag=True, help="Go on without labels that can never come.")
def release(folder: Path, step: str | None, leave_out_missing: bool) -> None:
    """Charge and publish the current step; one that was released is not charged again."""
    with plain_errors():
        opened = _open(folder)
        opened.release(step, leave_out_missing=leave_out_missing)
        text = str(opened.status())
    console.print(f"released into {opened.release_folder}", soft_wrap=True, markup=False)
    console.print(text, markup=False)


@study.command()
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(folder: Path, as_json: bool) -> None:
    """Say where the study stands, in what may be told outside."""
    with plain_errors():
        found = _open(folder).status()
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        console.print(str(found), markup=False)


@study.command()
@FOLDER
@click.option("--title", default="Study report", show_default=True, help="Heading of the page.")
@click.option("--public", "public_file", type=FILE, help="Table of PUBLIC samples on which to show uncertainty.")
@click.option("--label-column", default="label", show_default=True, help="Column of PUBLIC with the labels.")
@click.option("--public-id-column", help="Column of PUBLIC with ids, if there is one.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Column of PUBLIC that is no measurement; repeat.")
def report(
    folder: Path,
    title: str,
    public_file: Path | None,
    label_column: str,
    public_id_column: str | None,
    ignore: tuple[str, ...],
) -> None:
    """Write release/report.html, and data-protection.html beside it, from what was released alone."""
    with plain_errors():
        from skdpal.report import write_report

        rows = None
        opened = _open(folder)
        if public_file is not None:
            rows, _ = public_of(public_file, label_column, public_id_column, ignore)
            if not any((opened.release_folder / "models").glob("*.npz")):
                raise ValueError("Nothing was released yet, so there is no model to show. Leave out --public.")
        path = write_report(opened.release_folder, rows, title=title)
    console.print(f"read {path}", soft_wrap=True, markup=False)


def _filled(table: Any, column: str, ids: list[str]) -> list[str]:
    """Patients with an entry in a column."""
    entries = table[column].fillna("").astype(str).str.strip()
    return [patient for patient, entry in zip(ids, entries, strict=True) if entry]
