"""Git, closed: everything that touches a student's repository.

fetch      one commit -> the files of a submission
feedback   feedback files -> a commit on the branch score-feedback
scratch    a temporary repository, for both
process    how git is run: environment, limits, errors
remote     where a repository lies, and what opens it
names      what hosts, repositories, branches and commits may be called
"""
