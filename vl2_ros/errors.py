"""Every error that vl2_ros raises on purpose, in one tree.

    VL2Error
    ├── ConfigError        a configuration value or combination that cannot work
    ├── CheckpointError    weights that are missing, damaged or of another model
    ├── InputError         an image, sentence or prompt that cannot be used (also ValueError)
    │   └── ShapeError     an array of another shape or dtype than asked for
    ├── EngineError        an executable graph that is missing, does not fit or fails
    ├── RouteError         a routing token that no loaded decoder serves
    ├── SimulationError    a scene that cannot be built or rendered on this machine
    ├── TrainingError      a training run that cannot continue
    ├── SpeechError        audio or weights of a recogniser that cannot be used
    └── TransportError     a bag, topic or connection that cannot be read or written

A message states what was expected, what came, and what to do next.
"""


class VL2Error(Exception):
    """Base of every error raised on purpose."""


class ConfigError(VL2Error):
    """A configuration value or combination that cannot work."""


class CheckpointError(VL2Error):
    """Weights that are missing, damaged or belong to another model."""


class InputError(VL2Error, ValueError):
    """An image, sentence or prompt that cannot be used."""


class ShapeError(InputError):
    """An array of another shape or dtype than asked for."""


class EngineError(VL2Error):
    """An executable graph that is missing, does not fit or fails."""


class RouteError(VL2Error):
    """A routing token that no loaded decoder serves."""


class SimulationError(VL2Error):
    """A scene that cannot be built or rendered on this machine."""


class TrainingError(VL2Error):
    """A training run that cannot continue."""


class SpeechError(VL2Error):
    """Audio or weights of a recogniser that cannot be used."""


class TransportError(VL2Error):
    """A bag, topic or connection that cannot be read or written."""
