"""The errors that a command ends with: one paragraph in the command line's language."""


class CommandError(ValueError):
    """A mistake in the options of a command, with what mends it."""

    #: The exit code of the command.
    code = 2


class FolderError(CommandError):
    """A file or folder that a command cannot use, with what mends it."""

    code = 1
