"""The table of who hears what, and that its memory follows every change."""

from edgex_kit.bus.subscriptions import Subscriptions


def test_a_receiver_hears_what_its_pattern_covers_and_nothing_else() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("edgex/frames/#", "eye")
    table.add("edgex/+/device-camera/cam", "page")

    assert table.of("edgex/frames/device-camera/cam") == ("eye", "page")
    assert table.of("edgex/events/device-camera/cam") == ("page",)
    assert table.of("edgex/telemetry") == ()


def test_a_topic_that_was_asked_for_before_follows_what_is_added_and_removed() -> None:
    table: Subscriptions[str] = Subscriptions()
    assert table.of("a/b") == ()
    table.add("a/#", "one")
    assert table.of("a/b") == ("one",)
    table.add("a/b", "two")
    assert table.of("a/b") == ("one", "two")
    table.remove("a/#", "one")
    assert table.of("a/b") == ("two",)


def test_the_first_and_the_last_with_a_pattern_are_told_so() -> None:
    table: Subscriptions[str] = Subscriptions()
    assert table.add("a", "one")
    assert not table.add("a", "two")
    assert not table.remove("a", "one")
    assert not table.remove("a", "stranger")
    assert table.remove("a", "two")
    assert not table.remove("a", "two")
    assert table.patterns == []


def test_topics_without_end_take_no_memory_without_end() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("#", "all")
    for number in range(10_000):
        assert table.of(f"frames/{number}") == ("all",)
    assert len(table._known) <= 4096
