from __future__ import annotations

import pytest

from knowledge_plugin.errors import ArtifactError
from knowledge_plugin.verification.findings import Finding, Findings


def test_an_error_of_ours_is_noted_and_the_work_goes_on(tmp_path):
    findings = Findings(tmp_path)
    with findings.catching("a"):
        raise ArtifactError("no")
    findings.warning("b", "hm")
    assert findings.found == [Finding("error", "a", "no"), Finding("warning", "b", "hm")]


def test_a_bug_is_no_finding(tmp_path):
    findings = Findings(tmp_path)
    with pytest.raises(ZeroDivisionError), findings.catching("a"):
        1 / 0
    assert findings.found == []


def test_messages_name_files_from_the_folder(tmp_path):
    findings = Findings(tmp_path)
    findings.error("x", f"{tmp_path / 'x'} is broken, and {tmp_path}: so is y")
    inner = findings.within(tmp_path / "inner", "inner/")
    inner.error("y", f"{tmp_path / 'inner' / 'y'} is broken")
    assert findings.found == [
        Finding("error", "x", "x is broken, and so is y"),
        Finding("error", "inner/y", "y is broken"),
    ]
