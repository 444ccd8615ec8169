"""Which version is meant by a number, `latest`, an alias and a range."""

from pathlib import Path

import pytest
from app_inference.errors import ModelRejected
from app_inference.models.repository import Repository
from app_inference.models.versions import chosen, is_version, parse_version
from edgex_kit.wire.errors import Invalid, NotFound

VERSIONS = ["2.1.0-rc.1", "2.0.0", "1.10.0", "1.2.3", "1.2.0", "0.9.0"]
ALIASES = {"stable": "1.2.3", "candidate": "2.1.0-rc.1", "gone": "7.0.0"}


@pytest.mark.goal(3)
@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("1.2.0", "1.2.0"),
        ("2.1.0-rc.1", "2.1.0-rc.1"),
        ("latest", "2.0.0"),
        ("stable", "1.2.3"),
        ("candidate", "2.1.0-rc.1"),
        ("^1.2.0", "1.10.0"),
        ("~1.2.0", "1.2.3"),
        ("^0.9.0", "0.9.0"),
        (">=1.0.0 <1.10.0", "1.2.3"),
        (">=1.0.0, <=2.0.0", "2.0.0"),
        ("<1.0.0", "0.9.0"),
        ("=1.2.0", "1.2.0"),
        ("1.x", "1.10.0"),
    ],
)
def test_what_is_wanted_means_one_version(wanted: str, meant: str) -> None:
    assert chosen(wanted, VERSIONS, ALIASES) == meant


@pytest.mark.goal(3)
@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ("3.0.0", NotFound, r"no version '3\.0\.0'; there are 2\.1\.0-rc\.1, 2\.0\.0"),
        ("^3.0.0", NotFound, r"no version is '\^3\.0\.0'"),
        ("^0.1.0", NotFound, r"no version is '\^0\.1\.0'"),  # 0.9.0 may break what 0.1.0 promised
        ("^0.0.8", NotFound, r"no version is '\^0\.0\.8'"),
        ("unheard", NotFound, "no alias 'unheard'; there are latest, candidate, gone, stable"),
        ("gone", NotFound, r"no version '7\.0\.0'"),
        ("^one", Invalid, "version '\\^one'"),
        ("", Invalid, "a range such as"),
        ("*", Invalid, "a range such as"),
        (">=1.0.0 or so", Invalid, "a range such as"),
    ],
)
def test_what_means_nothing_is_refused_with_what_there_is(wanted: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        chosen(wanted, VERSIONS, ALIASES)


@pytest.mark.goal(3)
def test_a_pipeline_may_name_a_number_an_alias_or_a_range(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        (tmp_path / "net" / version).mkdir(parents=True)
        (tmp_path / "net" / version / "model.onnx").write_bytes(b"x")
    repository = Repository(tmp_path)
    repository.point("net", "stable", "1.0.0")
    wanted = ("net", "net@1.1.0", "net@stable", "net@^1.0.0", "net@latest")
    assert [repository.find(it).version for it in wanted] == ["2.0.0", "1.1.0", "1.0.0", "1.1.0", "2.0.0"]
    repository.point("net", "stable", "2.0.0")
    assert repository.find("net@stable").version == "2.0.0"
    for alias, version, error in (
        ("1.0.0", "1.0.0", Invalid),
        ("latest", "1.0.0", Invalid),
        ("old", "9.0.0", NotFound),
    ):
        with pytest.raises(error):
            repository.point("net", alias, version)


def test_versions_sort_by_precedence() -> None:
    rising = ["0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
              "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2", "3", "10"]  # fmt: skip
    assert sorted(set(rising), key=parse_version) == rising


@pytest.mark.parametrize("text", ["1.0", "-1", "v1.0.0", "1.0.0.0", "", "newest", "1.0.x", "1.0.0\n", "9" * 5000])
def test_what_is_no_version_is_refused(text: str) -> None:
    assert not is_version(text)
    with pytest.raises(ModelRejected):
        parse_version(text)
