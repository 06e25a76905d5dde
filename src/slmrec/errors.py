"""Every error that slmrec raises on purpose.

    SlmrecError                 exit code 4: a step failed
    ├── ConfigError             exit code 2: a setting is unknown, malformed or contradictory
    ├── SourceMissingError      exit code 2: an input that was named does not exist
    ├── DataError               exit code 3: the input cannot be read as what it was said to be
    │   └── ValidationFailed    exit code 3: the data was read and failed its expectations
    ├── ArtifactError           exit code 4: an artifact is missing, incomplete or altered
    ├── RegistryConflict        exit code 4: somebody else moved the production pointer first
    └── GateRefusal             exit code 5: the run finished and its gates refused promotion

A message names the file or field, what was found, what was expected, and what to do next.
"""

from typing import ClassVar


class SlmrecError(Exception):
    """Base of the tree; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 4


class ConfigError(SlmrecError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 2


class SourceMissingError(SlmrecError):
    """An input that was named does not exist or cannot be reached."""

    exit_code = 2


class DataError(SlmrecError):
    """An input exists but cannot be read as what it was said to be."""

    exit_code = 3


class ValidationFailed(DataError):
    """The data was read and failed its expectations."""


class ArtifactError(SlmrecError):
    """An artifact is missing, incomplete or not what its manifest says."""


class RegistryConflict(SlmrecError):
    """A compare-and-swap found that somebody else had moved the pointer."""


class GateRefusal(SlmrecError):
    """The run finished and its gates refused promotion."""

    exit_code = 5
