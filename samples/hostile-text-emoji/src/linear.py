class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError("😀" * 10**4)
