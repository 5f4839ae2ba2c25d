"""One tree for everything a user can cause, and nothing else.

::

    ChargenError              shown as one line on stderr, exit code 1
    ├── ConfigError           a setting out of its range (exit code 2: the command line is wrong)
    ├── CorpusError           a text that cannot be read or is too small
    ├── TokenizerError        a text that a tokenizer cannot hold, a bad vocabulary
    ├── CheckpointError       a model file or run that is missing, damaged or foreign
    ├── DownloadError         a published text or a model that cannot be fetched whole
    ├── StorageError          a folder or file that cannot be written
    │   └── OutputError       standard output that cannot be written
    │       └── ClosedPipeError   that nobody reads any more (exit code 141, in silence)
    ├── DeviceError           a device that this machine does not have
    └── TrainingError         a run that cannot go on

Each message says what is wrong, the value, what is allowed, and what to run next.
Any other exception is a bug of ours and keeps its traceback.
"""


class ChargenError(Exception):
    """Something the user can mend."""


class ConfigError(ChargenError):
    """A setting is out of its range."""


class CorpusError(ChargenError):
    """A text is missing, unreadable or too small."""


class TokenizerError(ChargenError):
    """A text that the tokenizer cannot hold, or a vocabulary that cannot be built."""


class CheckpointError(ChargenError):
    """A model file or a run is missing, damaged, or not ours."""


class DownloadError(ChargenError):
    """A published text or a model cannot be fetched whole."""


class StorageError(ChargenError):
    """A folder or a file cannot be written."""


class OutputError(StorageError):
    """Standard output cannot be written."""


class ClosedPipeError(OutputError):
    """Standard output is a pipe that nobody reads any more."""


class DeviceError(ChargenError):
    """This machine has no such device."""


class TrainingError(ChargenError):
    """Training cannot go on."""
