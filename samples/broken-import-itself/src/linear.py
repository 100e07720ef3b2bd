from .layers import Layer


class ManualLinear(Layer): ...
