name = 'größe'


class ManualLinear: ...
