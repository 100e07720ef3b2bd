class Broken(Exception):
    def __str__(self):
        raise Broken

    __repr__ = __str__


class ManualLinear:
    def __init__(self, *sizes, **options):
        raise Broken
