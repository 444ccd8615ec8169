"""`edgex-models` on this machine's disk: list, inspect, pull, add and golden, and exit codes."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from app_inference.cli.add import _labels
from app_inference.models.repository import Repository

from tests.app.cli_rig import INFO, BuildModel, Command


def test_an_empty_repository_says_how_to_begin(run: Command) -> None:
    assert "edgex-models pull" in run("list").stdout
    assert run.json("list") == []
    run("verify", code=1)


def test_a_model_is_added_listed_and_verified(build_mean_color: BuildModel, run: Command) -> None:
    path = build_mean_color(info=INFO, name="source/gauge")
    run("add", path)
    row = run.json("list")[0]
    assert (row["name"], row["version"], row["format"], row["state"]) == ("gauge", "1.0.0", "xml", "")
    assert "no app-inference answers" in run("list").stderr
    verified = run.json("verify")
    assert [(it["model"], it["state"], it["digest"]) for it in verified] == [("gauge@1.0.0", "whole", row["digest"])]


@pytest.mark.goal(5)
def test_inspect_shows_every_key_with_who_decided_it(build_mean_color: BuildModel, run: Command) -> None:
    path = build_mean_color(info={**INFO, "scale_values": "255"}, name="source/gauge")
    (path.parent / "manifest.yaml").write_text(
        "schema: vision.model/1\nname: gauge\nversion: 1.0.0\nthresholds: {top_k: 2}\nsource: our lab\n"
    )
    found = run.json("inspect", path)
    settings = {key: (it["value"], it["origin"]) for key, it in found["settings"].items()}
    assert settings["top_k"] == (2, "manifest")
    assert settings["labels"] == (["blue", "green", "red"], "model_info")
    assert settings["size"] == ([32, 32], "model")
    assert settings["resize"] == ("standard", "default")
    assert settings["type"] == ("classification", "model_info")
    assert found["provenance"] == {
        "license": {"text": "MIT", "origin": "model_info"},
        "source": {"text": "our lab", "origin": "manifest"},
    }
    assert (found["inputs"], found["outputs"]) == (["picture [1, 3, 32, 32] float32"], ["logits [1, 3] float32"])
    text = run("inspect", path).stdout
    assert "blue, green, red" in text
    assert "image_threshold" not in text, "a classifier does not use it"


def test_inspect_names_the_types_that_would_fit_a_model_without_one(build_mean_color: BuildModel, run: Command) -> None:
    path = build_mean_color(name="source/gauge")
    assert run.json("inspect", path, code=1)["fits"] == ["classification"]
    found = run.json("inspect", path, "--model-type", "classification")
    assert found["settings"]["type"]["origin"] == "override"


@pytest.mark.goal(31)
def test_a_licence_with_conditions_is_reported_and_can_be_required(
    build_mean_color: BuildModel, run: Command, models: Path
) -> None:
    agpl = build_mean_color(info={**INFO, "license": "AGPL-3.0"}, name="a/gauge")
    for words in (("add", agpl), ("inspect", "gauge")):
        assert "AGPL-3.0" in run(*words).stderr
    silent = build_mean_color(info={**INFO, "license": ""}, name="b/silent")
    assert "no licence is stated" in run("add", silent).stderr
    bare = build_mean_color(info={**INFO, "license": ""}, name="c/bare")
    assert "license, dataset" in run("add", bare, "--require", "license,dataset", code=1).stderr
    assert Repository(models).names() == ["gauge", "silent"]


def test_a_model_without_a_manifest_is_described_by_options(build_mean_color: BuildModel, run: Command) -> None:
    path = build_mean_color(info={}, name="source/gauge", dynamic=True)
    (path.parent / "names.txt").write_text("blue\ngreen\nred\n")
    words = ("--model-type", "classification", "--labels", path.parent / "names.txt", "--size", "48x32")
    more = ("--color", "BGR", "--mean", "127.5", "--scale", "127.5,127.5,127.5", "--label-offset", "0")
    run("add", path, *words, *more, "--resize", "crop")
    settings = {key: it["value"] for key, it in run.json("inspect", "gauge")["settings"].items()}
    assert (settings["size"], settings["color"], settings["resize"]) == ([48, 32], "BGR", "crop")
    assert (settings["mean"], settings["scale"], settings["labels"][0]) == ([127.5], [127.5] * 3, "blue")
    run("add", path, *words[:4], "--size", "huge", "--version", "2.0.0", code=1)
    run("add", path, *words[:4], "--color", "CMYK", "--version", "2.0.0", code=2)


@pytest.mark.parametrize(
    ("name", "count", "first"), [("coco", 80, "person"), ("imagenet", 1000, "tench"), ("voc", 20, "aeroplane")]
)
def test_well_known_labels_have_names(name: str, count: int, first: str) -> None:
    labels = _labels(name)
    assert (len(labels), labels[0]) == (count, first)


@pytest.mark.goal(16)
def test_golden_pictures_are_made_and_checked(
    build_mean_color: BuildModel, run: Command, models: Path, red: Path
) -> None:
    path = build_mean_color(info=INFO, name="source/gauge")
    run("add", path, "--golden", red)
    assert run.json("inspect", "gauge")["golden"] == 1
    run("golden", "gauge", red, "--version", "1.0.1", "--tolerance", "0.05")
    manifest = Repository(models).version("gauge", "1.0.1").manifest
    assert manifest is not None
    assert [it.tolerance for it in manifest.golden] == [0.01, 0.05]
    # the same version with other weights behind the same golden pictures
    folder = path.parent.parent / "bad"
    shutil.copytree(models / "gauge" / "1.0.0", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    (folder / "manifest.yaml").unlink()
    other = build_mean_color(info={**INFO, "reverse_input_channels": "YES"}, name="other/gauge")
    for suffix in (".xml", ".bin"):
        (folder / f"gauge{suffix}").unlink()
        shutil.copy(other.with_suffix(suffix), folder / f"gauge{suffix}")
    manifest_text = "schema: vision.model/1\nname: gauge\nversion: 3.0.0\n"
    golden = "golden: [{input: golden/red.png, output: golden/red.png.json}]\n"
    (folder / "manifest.yaml").write_text(manifest_text + golden)
    refused = run("add", folder, code=1)
    assert "golden/red.png: red " in refused.stderr
    assert Repository(models).versions("gauge") == ["1.0.1", "1.0.0"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("inspect", "nobody"), 1, "no model 'nobody'"),
        (("inspect", "./nowhere.onnx"), 1, "no such file or folder"),
        (("add", "./nowhere.onnx"), 1, "no such file or folder"),
        (("pull", "nobody"), 1, "the catalogue has no 'nobody'"),
        (("deploy", "./a.onnx"), 1, "a model is deployed by its name"),
        (("inspect",), 2, "Missing argument"),
        (("frobnicate",), 2, "No such command"),
        (("deploy", "x", "--strategy", "hope"), 2, "hope"),
        (("add", "x", "--tolerance", "7"), 2, "tolerance"),
        (("plan", "x", "--percent", "0"), 2, "percent"),
    ],
)
def test_every_end_has_its_exit_code(run: Command, words: tuple[str, ...], code: int, what: str) -> None:
    done = run(*words, code=code)
    assert what in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_what_can_be_pulled_is_listed_with_licence_and_source(run: Command) -> None:
    entries = {it["name"]: it for it in run.json("pull")}
    assert entries["pedestrian-ssdlite"]["license"] == "MIT"
    text = run("pull").stdout
    assert "blazeface-back@0.6.0" in text
    assert "Apache-2.0" in text


@pytest.mark.integration
def test_it_is_a_command_of_its_own(tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "app-service/pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["edgex-models"].partition(":")
    assert callable(getattr(import_module(module), name))
    command = [sys.executable, "-m", "app_inference.cli"]
    env = {**os.environ, "INFERENCE_MODELSDIR": str(tmp_path)}
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, env=env)
    assert (version.returncode, version.stdout.split()[0]) == (0, "edgex-models")
    refused = subprocess.run([*command, "inspect", "nobody"], capture_output=True, text=True, env=env)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("edgex-models: no model 'nobody'")


@pytest.mark.integration
def test_tables_fit_an_eighty_column_terminal(build_mean_color: BuildModel, run: Command, models: Path) -> None:
    run("add", build_mean_color(info=INFO, name="source/gauge"), "--name", "a-model-with-quite-a-long-name")
    script = f"COLUMNS=80 {sys.executable} -m app_inference.cli list --models-dir {models} --url http://127.0.0.1:9"
    shown = subprocess.run(["script", "-qec", script, "/dev/null"], capture_output=True, text=True, timeout=30)
    lines = [line for line in shown.stdout.replace("\r", "").splitlines() if "note:" not in line]
    assert any("a-model-with-quite-a-long-name@1.0.0" in line for line in lines)
    assert max(len(line) for line in lines if "\x1b" not in line) <= 80
