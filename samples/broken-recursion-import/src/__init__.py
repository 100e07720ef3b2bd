def __getattr__(name):
    return __getattr__(name)


linear = __getattr__("linear")
