"""What can be wrong with a picture or a model; the rest of the family is `edgex_kit.wire.errors`."""

from edgex_kit.wire.errors import EdgexError, Invalid, Malformed, Unavailable


class NoPicture(Malformed):
    """An event without a picture, as most are where `Trigger.SubscribeTopics` is wide."""


class ImageBroken(Malformed):
    """These bytes are no picture we can decode."""


class ModelRejected(Invalid):
    """The model, its manifest or its labels are wrong: another try brings the same answer."""


class ModelUnavailable(Unavailable):
    """The model could not be had: no such file, not readable, no such inference device. Later it may be."""


class NoRoom(Unavailable):
    """The disk is full."""


class InferenceFailed(EdgexError):
    """A loaded model did not answer."""

    status = 500
