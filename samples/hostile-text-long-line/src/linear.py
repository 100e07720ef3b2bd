class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError("x" * 10**8 + "\n" * 10**5)
