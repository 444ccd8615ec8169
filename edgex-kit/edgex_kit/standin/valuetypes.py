"""EdgeX's value types by name (contract 2.2). Pure."""

SIMPLE = ("Bool", "String", "Uint8", "Uint16", "Uint32", "Uint64", "Int8", "Int16", "Int32", "Int64", "Float32", "Float64")
OTHER = ("Binary", "Object", "ObjectArray")
ARRAYS = tuple(f"{name}Array" for name in SIMPLE)
_CANONICAL = {name.lower(): name for name in (*SIMPLE, *OTHER, *ARRAYS)}


def canonical_type(name: object) -> str | None:
    """EdgeX's spelling of a value type, whatever its case; None for one there is not."""
    return _CANONICAL.get(str(name).lower())
