import functools
import threading

cache = functools.lru_cache(maxsize=None)(lambda number: number**2)


def work():
    for number in range(10**9):
        cache(number % 1000)


threading.Thread(target=work, daemon=True).start()
