class Error(RuntimeError):
    """What went wrong, where, and what to do about it.

    message: what was expected and what was there. where: the file, key, tensor or picture; may be empty. hint: what
    to do; may be empty.
    """

    def __init__(self, message, where="", hint=""):
        self.message, self.where, self.hint = message, where, hint
        super().__init__("".join([f"{where}: " if where else "", message, f"; {hint}" if hint else ""]))

    def __reduce__(self):
        return type(self), (self.message, self.where, self.hint)
