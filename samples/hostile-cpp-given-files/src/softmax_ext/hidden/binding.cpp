#error not ours
