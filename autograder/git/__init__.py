"""Git for students' repositories, which are hostile input. Nothing else touches them.

fetch      one commit -> the files of a submission
feedback   feedback files -> a commit on the branch score-feedback
scratch    a temporary repository, for both
process    how git is run: environment, limits, errors
remote     the address of a repository, and the credentials for it
names      valid names of hosts, repositories, branches and commits
"""
