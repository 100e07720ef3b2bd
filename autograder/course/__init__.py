"""One course: which repository belongs to which assignment and student, and when its pushes count.

course           the resolved configuration: targets, credentials, deadlines
rules            which keys of the configuration a running service takes without a restart
deadline         whether a push is early, on time, in grace or late
late             what late days cost, and how many cost nothing
limits           how many pushes are graded per hour and per day
staff_files      how files are read that staff write while the service runs
roster           who is in the course, under which names, in which team
extensions       the file of extensions of single students, and which of them are in force
standing         which commit counts, when it came, and what it is worth: the one function that everything asks
gradebook        one row for each student: what counts in each assignment, and the total
gradebook_files  the gradebook as a table, CSV, JSON, Excel, and what Canvas and Moodle import
"""
