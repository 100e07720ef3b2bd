HIDDEN = "\u202e\u2066\u200f\u200b\ufeff\u00ad\u061c\U000e0041\u2800 txet " + "e\u0301" * 20


class ManualLinear:
    def __init__(self, *sizes, **options):
        raise ValueError(HIDDEN)
