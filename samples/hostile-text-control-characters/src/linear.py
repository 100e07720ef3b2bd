CONTROL = "\x1b[2J\x1b]0;owned\x07\x1b[31m\0\x08\x7f\x9b31m\x85\u2028\u2029\r\n\v\f | done"


class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError(CONTROL)
