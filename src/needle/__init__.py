"""Task2: a small library for automatic differentiation.

graph.py     values and the ops between them (given)
ops.py       every operation and its gradient
autograd.py  Tensor (given), topological sort, reverse mode
training.py  softmax loss, one epoch of SGD for a two-layer network

Each file imports only from those above it.
"""

from . import autograd, ops
from .autograd import Device, Tensor, cpu
from .graph import Op, Value
from .ops import (
    AddScalar,
    BroadcastTo,
    DivScalar,
    EWiseAdd,
    EWiseDiv,
    EWiseMul,
    EWisePow,
    Exp,
    Log,
    MatMul,
    MulScalar,
    Negate,
    PowerScalar,
    ReLU,
    Reshape,
    Summation,
    Transpose,
    add,
    add_scalar,
    broadcast_to,
    divide,
    divide_scalar,
    exp,
    log,
    matmul,
    mul_scalar,
    multiply,
    negate,
    power,
    power_scalar,
    relu,
    reshape,
    summation,
    transpose,
)
from .training import nn_epoch, softmax_loss
