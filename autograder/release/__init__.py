"""From the solved repository to what students get: the starter and the closed-source reference.

markers     what stands between solution markers, and a file without it
handout     each handout as a README, without the sections of tasks that are not released
starter     the tree of a starter: path -> content
repository  a tree as one reproducible commit, and the update of a repository handed out already
leaks       solutions, hidden cases, secrets and staff paths, wherever they turn up
proof       what must hold before anything is handed out
reference   the wheel `ref`
"""
