from ref.linear import ManualLinear
