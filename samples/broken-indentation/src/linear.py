class ManualLinear:
    def forward(self, input):
        x = input
	return x @ self.W
