"""From a checkout to a report: the hidden suite decides, the sandbox runs student code.

batch          many checkouts, several at a time
grader         owns a suite server and asks it for reports
suite_server   collects the hidden suite once and forks a checking process for each submission
plugin         the pytest plugin: `student`, `ref`, `rng`, and how the end of a check becomes a verdict
messages       an outcome of the sandbox -> the sentence that a student reads
trial          chosen cases, run to learn about the suite; no points
seal           was a published score edited?
"""
