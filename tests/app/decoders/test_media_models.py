"""Real models on real pictures: they find what is there. Needs the media folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from app_inference.inference.model import Model, load_model
from app_inference.models.repository import stored_model
from app_inference.vision.detections import Classes, Detections, Keypoints, Segmentation
from app_inference.vision.image import Image, image_from_bytes, image_from_pixels

HEAD = "schema: vision.model/1\nversion: 1.0.0\n"

MANIFESTS = {
    "yolox_nano.onnx": """
name: yolox-nano
type: yolox
labels_file: coco80.txt
thresholds: {confidence: 0.5}
license: Apache-2.0
""",
    "FastestDet.onnx": """
name: fastestdet
type: fastestdet
labels_file: coco80.txt
license: BSD-3-Clause
""",
    "yunet_n_320_320.onnx": """
name: yunet
type: yunet
labels: [face]
license: Apache-2.0
""",
    "mobilenet_v2_1.0_224_quant.tflite": """
name: mobilenet-v2
type: classification
labels_file: imagenet.txt
label_offset: 1
input: {color: RGB, dtype: u8}
license: Apache-2.0
""",
    "deeplabv3_mnv2_dm05_pascal_quant.tflite": """
name: deeplab-v3
type: segmentation
labels_file: pascal.txt
input: {color: RGB}
license: Apache-2.0
""",
    "movenet_single_pose_lightning_ptq.tflite": """
name: movenet
type: movenet
labels: [person]
license: Apache-2.0
""",
}


@dataclass(frozen=True)
class Passages:
    """What a detector saw in a film: how many persons in each sampled frame."""

    counts: list[int]

    def number(self) -> int:
        """Runs of two samples or more with somebody, apart by two or more with nobody; samples are a second apart."""
        seen = "".join("x" if count else " " for count in self.counts)
        return len([run for run in seen.split("  ") if run.count("x") >= 2])


@pytest.fixture
def labels(media: Path, tmp_path: Path) -> Path:
    """The label files beside which manifests are written."""
    images = media / "images"
    coco = [label for label in (images / "coco_labels.txt").read_text().splitlines() if label not in ("", "n/a")]
    (tmp_path / "coco80.txt").write_text("\n".join(coco))
    (tmp_path / "imagenet.txt").write_text("\n".join((images / "imagenet_labels.txt").read_text().splitlines()[1:]))
    pascal = (images / "pascal_voc_segmentation_labels.txt").read_text().splitlines()[:21]
    (tmp_path / "pascal.txt").write_text("\n".join(pascal))
    return tmp_path


def open_model(media: Path, folder: Path, file: str) -> Model:
    (folder / file).symlink_to(media / "models" / file)
    (folder / "manifest.yaml").write_text(HEAD + MANIFESTS[file])
    model = load_model(stored_model(folder / file))
    model.warm_up()
    return model


def picture(media: Path, name: str, model: Model) -> Image:
    return image_from_bytes((media / "images" / "ovms" / name).read_bytes(), model.input_size)


def frames(path: Path, every: int) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(path))
    index = 0
    while capture.grab():
        if index % every == 0:
            yield image_from_pixels(capture.retrieve()[1])
        index += 1
    capture.release()


def detected(model: Model, image: Image) -> Detections:
    result, _ = model.session().analyse(image)
    assert isinstance(result, Detections)
    return result


@pytest.mark.timeout(120)
@pytest.mark.parametrize("file", ["yolox_nano.onnx", "FastestDet.onnx"])
def test_the_persons_of_a_film_are_found_one_at_a_time_in_six_passages(media: Path, labels: Path, file: str) -> None:
    model = open_model(media, labels, file)
    counts = []
    for frame in frames(media / "video" / "intel_one-by-one-person-detection.mp4", every=10):
        found = detected(model, frame)
        counts.append(sum(model.labels[number] == "person" for number in found.class_ids))
    assert max(counts) == 1
    assert Passages(counts).number() == 6


@pytest.mark.goal(2)
def test_every_labelled_picture_is_named(media: Path, labels: Path) -> None:
    model = open_model(media, labels, "mobilenet_v2_1.0_224_quant.tflite")
    lines = (media / "images" / "ovms_imagenet_gt.txt").read_text().split()
    truth = {Path(name).name: int(number) for name, number in zip(lines[::2], lines[1::2], strict=True)}
    named = {}
    for name in truth:
        result, _ = model.session().analyse(picture(media, name, model))
        assert isinstance(result, Classes)
        named[name] = int(result.class_ids[0])
    assert len(truth) == 10
    assert named == truth


def test_the_mask_of_a_bird_covers_it(media: Path, labels: Path) -> None:
    model = open_model(media, labels, "deeplabv3_mnv2_dm05_pascal_quant.tflite")
    pixels = cv2.imread(str(media / "images" / "bird_segmentation.bmp"))
    truth = cv2.imread(str(media / "images" / "bird_segmentation_mask.bmp"), cv2.IMREAD_UNCHANGED)
    result, _ = model.session().analyse(image_from_pixels(pixels))
    assert isinstance(result, Segmentation)
    bird = model.labels.index("bird")
    found, there = result.class_map == bird, truth == bird
    assert (found & there).sum() / (found | there).sum() >= 0.8
    assert bird in result.class_ids


@pytest.mark.parametrize(("name", "faces"), [("people1.jpeg", 10), ("people2.jpeg", 2)])
def test_faces_are_counted(media: Path, labels: Path, name: str, faces: int) -> None:
    model = open_model(media, labels, "yunet_n_320_320.onnx")
    image = picture(media, f"people/{name}", model)
    found = detected(model, image)
    assert len(found) == faces
    assert (found.boxes[:, 2] <= image.width).all()
    assert (found.boxes[:, 3] <= image.height).all()


def test_the_joints_of_a_person_lie_in_the_box_of_that_person(media: Path, labels: Path) -> None:
    person = open_model(media, labels, "yolox_nano.onnx")
    film = frames(media / "video" / "intel_one-by-one-person-detection.mp4", every=120)
    frame = next(frame for frame in film if len(detected(person, frame)))
    box = detected(person, frame).boxes[0]
    (labels / "manifest.yaml").unlink()
    pose, _ = open_model(media, labels, "movenet_single_pose_lightning_ptq.tflite").session().analyse(frame)
    assert isinstance(pose, Keypoints)
    sure = pose.points[0][pose.scores[0] > 0.3]
    assert len(sure) >= 3
    inside = ((sure >= box[:2] - 20) & (sure <= box[2:] + 20)).all(1)
    assert inside.mean() >= 0.8


def test_half_a_decode_finds_the_same_persons(media: Path, labels: Path) -> None:
    model = open_model(media, labels, "yolox_nano.onnx")
    data = (media / "images" / "ovms" / "people" / "people1.jpeg").read_bytes()
    whole, half = image_from_bytes(data), image_from_bytes(data, (300, 300))
    assert half.pixels.shape[0] < whole.pixels.shape[0]
    assert (half.width, half.height) == (whole.width, whole.height)
    many, few = detected(model, whole), detected(model, half)
    assert abs(len(many) - len(few)) <= 1
    distances = np.abs(many.boxes[:, None] - few.boxes[None]).max(2).min(1)
    assert np.median(distances) < 10
