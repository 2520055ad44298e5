"""Checks as rows: what each says of what it found."""

import csv

from advisor.quality.checks import CHECKS, Finding, Suspect, faults, make_finding, save_suspects


def _findings():
    values = {"gap": 3.2, "random": 0.8, "grouped": 0.768, "reasons": "hidden: 1", "folders": "cat/kitten"}
    values |= {"bits": 12, "largest": 4095, "notes": "Columns are separated by tabs."}
    suspects = [Suspect(path="a.png", detail="odd")]
    return [make_finding(check.code, suspects, total=10, **values) for check in CHECKS]


def test_every_check_writes_its_message():
    """No template is left unfilled, and each finding says what it does to the advice."""
    for check, finding in zip(CHECKS, _findings(), strict=True):
        assert (finding.code, finding.effect) == (check.code, check.effect)
        assert "{" not in finding.message + finding.source
        assert finding.message.endswith(".")
        assert finding.effect.endswith(".")


def test_groups_and_other_files_are_no_fault():
    """`advisor check --strict` accepts a dataset with nothing else."""
    findings = _findings()
    assert {finding.code for finding in findings} - {finding.code for finding in faults(findings)} == {
        "ignored",
        "nested_classes",
        "notes",
        "groups",
        "value_range",
    }


def test_one_image_is_no_plural():
    """A message about one image is a sentence too."""
    for check, finding in zip(CHECKS, _findings(), strict=True):
        if "{count" in check.message and not check.message.startswith("Leak"):
            assert not finding.message.startswith(("1 images", "1 files", "1 groups"))


def test_suspects_are_written_as_a_table(tmp_path):
    """One row for each suspect of each finding, in a new file."""
    save_suspects(_findings()[:2], tmp_path / "suspects.csv")
    with (tmp_path / "suspects.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["path", "finding", "detail"], *(["a.png", check.code, "odd"] for check in CHECKS[:2])]


def test_a_finding_is_read_back_as_it_was():
    """From the plain values of `fingerprint.json`."""
    from dataclasses import asdict

    for finding in _findings():
        assert Finding.from_dict(asdict(finding)) == finding
