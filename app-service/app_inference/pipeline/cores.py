"""How many cores there are for us, and how many inferences and workers that makes."""

import os

from app_inference.settings import InferenceSection


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def streams_for(section: InferenceSection) -> int:
    """Inferences that run at once: one thread each is steadier than one inference on many threads (hot path, 4)."""
    return section.streams or cores()


def workers_for(section: InferenceSection) -> int:
    """One worker on one core; otherwise one more than streams, to decode while the others infer (hot path, 7)."""
    return section.workers or (1 if cores() == 1 else streams_for(section) + 1)
