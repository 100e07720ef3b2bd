"""From the solved repository to what students get: the starter, the closed-source reference, and the image.

markers     solutions between markers, and a file without them
handout     each handout as a README, without the sections about tasks that are not released
starter     the tree of a starter: path -> content
repository  a tree as one reproducible commit, and the update of a repository that was handed out
leaks       finds solutions, hidden cases, secrets and staff paths wherever they are
proof       what must hold before anything is handed out
reference   the wheel `ref`
image       the course's image
"""
