"""`python -m autograder` runs the command `autograder`."""

from autograder.cli import main

main(prog_name="autograder")
