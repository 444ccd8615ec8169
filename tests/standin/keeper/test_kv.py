from typing import Any

import pytest
from edgex_kit.wire.errors import Invalid
from edgex_standin import store
from edgex_standin.keeper import kv


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (False, "false"), (1, "1"), (1.0, "1"), (0.5, "0.5"), (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"), ("", ""), ("x", "x"), ([1, "a"], '[1,"a"]'), ({"b": 1, "a": "<"}, '{"a":"\\u003c","b":1}'),
    ],
)  # fmt: skip
def test_a_value_is_stored_as_the_text_go_makes_of_it(value: Any, text: str) -> None:
    assert kv.text_of(value) == text


def test_flattening_drops_what_is_empty_and_breaks_lists_as_go_does() -> None:
    tree = {"A": {"B": 1, "C": True}, "D": "x", "empty": {}, "null": None, "list": [1, 2], "deep": {"er": {}}}
    assert dict(kv.flatten("k", tree)) == {"k/A/B": "1", "k/A/C": "true", "k/D": "x", "k/list": ""}


def test_a_prefix_is_whole_levels() -> None:
    db = store._connect(store.IN_MEMORY)
    for key in ("a", "a/b", "a_b", "ab", "b/a"):
        kv.put(db, key, "x")
    assert [pair.key for pair in kv.find(db, "a")] == ["a", "a/b"]
    db.close()


def test_putting_again_keeps_the_time_of_creation() -> None:
    db = store._connect(store.IN_MEMORY)
    kv.put(db, "a", "1")
    db.execute("update kv set created = 5, modified = 5")
    kv.put(db, "a", "2")
    (pair,) = kv.find(db, "a")
    assert (pair.value, pair.created, pair.modified > 5) == ("2", 5, True)
    db.close()


def test_deleting_a_parent_reports_a_conflict_and_takes_the_parent_all_the_same() -> None:
    """What core-keeper 4.0 does."""
    db = store._connect(store.IN_MEMORY)
    for key in ("a", "a/b"):
        kv.put(db, key, "x")
    assert kv.delete(db, "a", with_children=False) is None
    assert [pair.key for pair in kv.find(db, "a")] == ["a/b"]
    assert kv.delete(db, "a", with_children=True) == ["a/b"]
    db.close()


@pytest.mark.parametrize("key", ["a b", "ä", "a#b", "a+b", ""])
def test_a_key_with_other_characters_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="key only allows characters"):
        kv.check_key(key)
