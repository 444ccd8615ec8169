"""From a model's raw tensors to what it saw; a module a family, all numpy."""

from app_inference.decoders.contract import DecodeOptions, Decoder, Outputs, TensorSpec, TypeDefaults
from app_inference.decoders.table import ALIASES, DECODERS, normalise

__all__ = ["ALIASES", "DECODERS", "DecodeOptions", "Decoder", "Outputs", "TensorSpec", "TypeDefaults", "normalise"]
