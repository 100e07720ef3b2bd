"""Turns a checkout into a report: the sandbox runs student code, and the hidden suite decides the verdicts.

batch          grades many checkouts, several at a time
grader         owns a suite server and asks it for reports
suite_server   collects the hidden suite once and forks a checking process for each submission
race           the fixture `race`: the student's code is timed against a baseline on the same device
plugin         the pytest plugin: `student`, `ref`, `rng`, and how the end of a check becomes a verdict
messages       turns an outcome of the sandbox into the sentence that a student reads
observation    what the cases saw of a submission, for the suite check
turns          lets a submission be graded alone on this machine, and one at a time on a device
trial          chosen cases, run to learn about the suite; no points
seal           shows whether a published score was edited
"""
