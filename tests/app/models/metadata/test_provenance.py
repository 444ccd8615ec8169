"""Whose a model is, and who says so."""

import pytest
from app_inference.models.manifest import parse_manifest
from app_inference.models.metadata.exports import Export
from app_inference.models.metadata.provenance import Statement, license_warning, missing, provenance

MANIFEST = parse_manifest(
    "schema: vision.model/1\nname: net\nversion: 1.0.0\nlicense: MIT\nsource: https://example.org/net\n"
    "provenance: {dataset: street-2026, commit: abc123, sbom: https://example.org/sbom.json}\n"
)
EXPORT = Export("metadata.yaml", license="AGPL-3.0", trainer="Ultralytics 8.4.1", created="2026-02-03")


@pytest.mark.goal(31)
def test_the_stronger_word_counts_and_names_itself() -> None:
    told = provenance(MANIFEST, EXPORT, {"license": "BSD-3-Clause", "otx_version": "2.2.0", "nncf/version": "2.13"})
    assert told["license"] == Statement("MIT", "manifest")
    assert told["trainer"] == Statement("Ultralytics 8.4.1", "metadata.yaml")
    assert told["dataset"] == Statement("street-2026", "manifest")
    assert told["commit"].text == "abc123"
    assert provenance(None, EXPORT)["license"] == Statement("AGPL-3.0", "metadata.yaml")
    found = provenance(None, None, {"license": "BSD-3-Clause", "otx_version": "2.2.0", "nncf/version": "2.13"})
    assert found == {
        "license": Statement("BSD-3-Clause", "model_info"),
        "trainer": Statement("OTX 2.2.0, NNCF 2.13", "model_info"),
    }


@pytest.mark.goal(31)
def test_what_is_required_can_be_asked_for() -> None:
    assert missing(provenance(MANIFEST, None), ["license", "dataset", "trainer"]) == ["trainer"]
    assert missing(provenance(None, None), ["license"]) == ["license"]


@pytest.mark.goal(31)
@pytest.mark.parametrize(
    ("licence", "warned"),
    [
        ("MIT", False),
        ("Apache-2.0", False),
        ("GPL-3.0", False),
        ("AGPL-3.0 License (https://ultralytics.com/license)", True),
        ("CC-BY-NC-4.0", True),
        ("research only", True),
        ("", True),
    ],
)
def test_a_licence_that_asks_something_of_the_operator_is_said(licence: str, warned: bool) -> None:
    told = provenance(None, Export("metadata.yaml", license=licence))
    assert bool(license_warning(told)) is warned
