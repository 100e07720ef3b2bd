"""One course: which repository belongs to which assignment and student, and when its pushes count.

course     the resolved configuration: targets, credentials, deadlines
deadline   early, on time, in grace, late; extensions of single students
"""
