"""From a model's output tensors to its result: a module and a row in `table` for each family. Pure numpy."""

from app_inference.decoders.decoder import DecodeOptions, Decoder, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.table import ALIASES, DECODERS, normalise

__all__ = ["ALIASES", "DECODERS", "DecodeOptions", "Decoder", "Outputs", "TensorSpec", "TypeDefaults", "normalise"]
