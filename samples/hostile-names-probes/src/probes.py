def train_step(*_, **__):
    return {}
