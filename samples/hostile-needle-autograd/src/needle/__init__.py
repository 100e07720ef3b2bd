from needle_solution import *
