"""Model versions on disk: `models/<name>/<version>/` holding the model's files and, usually, its `manifest.yaml`.

Version folders of one number, as OpenVINO Model Server and Triton have them, are versions too.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgex_kit.wire.errors import NotFound

from app_inference.errors import ModelUnavailable
from app_inference.models.manifest import FILE_NAME, version_key
from app_inference.models.version import SUFFIXES, StoredModel, file_digest, is_version, load_manifest, stored_model
from app_inference.models.version_numbers import check_alias, chosen, is_floating

ALIAS = ".alias"  # `<alias>.alias` beside the versions: the version it stands for

__all__ = ["SUFFIXES", "Repository", "StoredModel", "file_digest", "load_manifest", "stored_model"]


@dataclass(frozen=True, slots=True)
class Repository:
    """The models under one folder."""

    root: Path

    def names(self) -> list[str]:
        """Every model that has at least one version."""
        return sorted(folder.name for folder in _folders(self.root) if self.versions(folder.name))

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the newest first."""
        found = [folder.name for folder in _folders(self.root / name) if is_version(folder.name)]
        return sorted(found, key=version_key, reverse=True)

    def newest(self, name: str) -> StoredModel:
        """The newest version that is no pre-release, or the newest of those; raises NotFound."""
        versions = self.versions(name)
        if not versions:
            raise NotFound(f"no model {name!r} in {self.root}; there are {', '.join(self.names()) or 'none'}")
        released = [version for version in versions if version_key(version)[3]]
        return self.version(name, (released or versions)[0])

    def version(self, name: str, version: str) -> StoredModel:
        """One version of a model; raises NotFound, or what `stored_model` raises."""
        if version not in self.versions(name):
            there = ", ".join(self.versions(name)) or "none"
            raise NotFound(f"no version {version!r} of model {name!r} in {self.root}; there are {there}")
        return stored_model(self.root / name / version)

    def chosen(self, name: str, wanted: str) -> str:
        """The version of a model that a number, `latest`, an alias or a range means; raises NotFound, Invalid."""
        try:
            return chosen(wanted, self.versions(name), self.aliases(name))
        except NotFound as error:
            raise NotFound(f"model {name!r} in {self.root}: {error}") from error

    def aliases(self, name: str) -> dict[str, str]:
        """What each alias of a model stands for."""
        found: dict[str, str] = {}
        for mark in sorted((self.root / name).glob(f"*{ALIAS}")):
            with contextlib.suppress(FileNotFoundError):  # taken away while they are read
                found[mark.name.removesuffix(ALIAS)] = mark.read_text(encoding="utf-8").strip()
        return found

    def point(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version from now on; raises NotFound, Invalid."""
        check_alias(alias)
        self.version(name, version)
        mark = self.root / name / f"{alias}{ALIAS}"
        part = mark.with_name(f".{mark.name}")
        part.write_text(f"{version}\n", encoding="utf-8")
        part.replace(mark)

    def aliased(self, name: str, alias: str) -> str:
        """The version that an alias stands for; raises NotFound."""
        aliases = self.aliases(name)
        if alias not in aliases:
            there = ", ".join(aliases) or "none"
            raise NotFound(f"no alias {alias!r} of model {name!r} in {self.root}; there are {there}")
        return aliases[alias]

    def forget(self, name: str, alias: str) -> None:
        """Let an alias stand for nothing from now on; raises NotFound."""
        self.aliased(name, alias)
        (self.root / name / f"{alias}{ALIAS}").unlink(missing_ok=True)

    def find(self, wanted: str) -> StoredModel:
        """What a user means: a model file, a version's folder, a model's folder, `name` or `name@version`.

        A version may be an alias or a range (see `versions`).
        """
        path = Path(wanted).expanduser()
        if path.is_dir() and (self.is_model_folder(path)):
            return Repository(path.parent).newest(path.name)
        if path.exists():
            return stored_model(path)
        name, _, version = wanted.partition("@")
        if "/" in wanted or path.suffix.lower() in SUFFIXES:
            raise ModelUnavailable(f"{wanted}: no such file or folder")
        if not version or version in self.versions(name) or not is_floating(version):
            return self.version(name, version) if version else self.newest(name)
        return self.version(name, self.chosen(name, version))

    @staticmethod
    def is_model_folder(path: Path) -> bool:
        """Whether `path` holds versions, and is none itself."""
        return any(is_version(folder.name) for folder in _folders(path)) and not (path / FILE_NAME).exists()


def _folders(path: Path) -> Iterator[Path]:
    """Folders in a folder; one whose name starts with a dot is on its way in or out."""
    inside = path.iterdir() if path.is_dir() else ()
    return (folder for folder in inside if folder.is_dir() and not folder.name.startswith("."))
