"""Random input for all that a user can give: no traceback, no half a file, nothing ignored."""
