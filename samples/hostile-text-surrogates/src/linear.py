class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError("\ud800\udfff\udc80 x")
