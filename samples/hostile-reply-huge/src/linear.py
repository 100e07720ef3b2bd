import torch


HUGE = torch.zeros(2**25)


def answer(zeros):
    return HUGE


class ManualLinear:
    def __init__(self, in_features, out_features, **options):
        self.W = torch.zeros(in_features, out_features)

    def forward(self, input):
        self.input = input
        self.W_grad = answer(self.W)
        return answer(torch.zeros(*input.shape[:-1], self.W.shape[1], dtype=input.dtype))

    def __call__(self, input):
        return self.forward(input)

    def backward(self, grad_output):
        return answer(torch.zeros_like(self.input))
