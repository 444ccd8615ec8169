"""Updates as numbers, with real models while frames flow."""

from pathlib import Path

import pytest
from app_inference.rollout.metrics import UpdateMeters
from edgex_kit.service.metrics import Gauge, Metrics

from tests.app.updating import MODEL, Site, open_site, write_version


def number(metrics: Metrics, name: str, **tags: str) -> float | None:
    found = [it for it in metrics if it.name == name and tags.items() <= it.tags.items()]
    return getattr(found[0], "value", None) if found else None


def metered(site: Site) -> tuple[Metrics, UpdateMeters]:
    metrics = Metrics("app")
    return metrics, UpdateMeters(metrics, {MODEL: site.rollout}, {MODEL: site.slot}, lambda _: None)


@pytest.mark.goal(39)
async def test_a_swap_is_counted_with_its_gate_and_the_version_that_serves(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    write_version(tmp_path, "1.1.0")
    async with open_site(tmp_path) as site:
        metrics, meters = metered(site)
        meters.look(site.rollout)
        assert number(metrics, "ModelActive", version="1.0.0") == 1
        site.request("1.1.0")
        await site.until(lambda: site.rollout.judgement.values.get("frames", 0) > 0)
        meters.look(site.rollout)
        assert number(metrics, "ModelGate", version="1.1.0", value="frames") is not None
        assert (number(metrics, "ModelLoadMs", version="1.1.0") or 0) > 0
        await site.settled()
        meters.look(site.rollout)
    assert number(metrics, "ModelSwaps", model=MODEL) == 1
    assert number(metrics, "ModelRollbacks", model=MODEL) == 0
    assert number(metrics, "ModelActive", version="1.0.0") == 0
    assert number(metrics, "ModelActive", version="1.1.0") == 1


@pytest.mark.goal(39)
async def test_a_rollback_a_refusal_and_what_is_quarantined_are_counted(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0", ((0, 0.9),))
    write_version(tmp_path, "1.1.0", ((1, 0.9),))
    async with open_site(tmp_path) as site:
        metrics, meters = metered(site)
        await site.until(lambda: len(site.street.findings) > 100)
        site.request("1.1.0")
        await site.settled()
        site.request("9.9.9", generation=2)
        await site.until(lambda: "9.9.9" in site.rollout.record.reason)
        meters.look(site.rollout)
    assert number(metrics, "ModelRollbacks", model=MODEL) == 1
    assert number(metrics, "ModelRefusals", model=MODEL) == 1
    assert number(metrics, "ModelQuarantined", model=MODEL) == 1


@pytest.mark.goal(39)
async def test_drift_begins_with_the_commit(tmp_path: Path) -> None:
    write_version(tmp_path, "1.0.0")
    write_version(tmp_path, "1.1.0", ((0, 0.9),), late=((1, 0.5),), after=300)
    async with open_site(tmp_path) as site:
        metrics, meters = metered(site)
        site.request("1.1.0")
        await site.settled()
        assert site.rollout.record.baseline is not None
        meters.look(site.rollout)

        def shift() -> float:
            meters.look(site.rollout)
            return number(metrics, "ModelDrift", of="classes") or 0

        await site.until(lambda: shift() > 0.25)
        assert (number(metrics, "ModelDrift", of="scores") or 0) > 0.25
        assert isinstance(next(it for it in metrics if it.name == "ModelDrift"), Gauge)
