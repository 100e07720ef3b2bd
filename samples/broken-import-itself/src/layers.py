from .linear import ManualLinear


class Layer: ...
