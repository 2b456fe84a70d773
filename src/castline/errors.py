"""The one error tree. A message says what was expected, what was found, where, and what to do.

The command line turns each class into its exit code and prints the message without a traceback.
"""

INTERRUPTED = 130  # the exit code of Ctrl-C, which is nobody's error


class CastlineError(Exception):
    """Base of every error a user can cause or meet."""

    exit_code = 1


class RecipeError(CastlineError):
    """The recipe or the command line is wrong: an unknown key, a value out of range, a conflict."""

    exit_code = 2


class DataError(CastlineError):
    """Input data is not what it should be: unreadable, empty, damaged."""

    exit_code = 3


class CheckpointError(DataError):
    """A checkpoint is missing a tensor, has a wrong shape, a NaN, or an unknown architecture."""


class CompileError(DataError):
    """A checkpoint cannot be compiled as asked."""


class PackageError(DataError):
    """A package is damaged, incomplete, or of a newer schema."""


class DeviceError(CastlineError):
    """The machine lacks something: a device, a library, memory or disk space."""

    exit_code = 4


class VerificationError(CastlineError):
    """A proof failed: a backend is further from the checkpoint than its bound; nothing was shipped."""

    exit_code = 5
