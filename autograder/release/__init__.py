"""Turns the solved repository into what students get: the starter, the closed-source reference, and the image.

markers     finds the solutions between markers, and makes a file without them
handout     makes each handout a README, without the sections about tasks that are not released
carried     which solved files of earlier assignments a starter has, and whether they are still open for somebody
starter     makes the tree of a starter: path -> content
repository  makes a tree one reproducible commit, and updates a repository that was handed out
leaks       finds solutions, hidden cases, secrets and staff paths wherever they are
proof       tries everything that must hold before a starter is handed out
reference   builds the wheel `ref`
image       builds the course's image
"""
