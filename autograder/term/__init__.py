"""What staff do with a whole course around its term, besides grading.

collection   the work of every student at the commit that counts, in a folder
similarity   whose work is similar; similarity_pages: the report with both sides
statistics   how an assignment went: points of all students, how often each case passed
archive      the course in one file, and how that is checked
new_term     what a new term begins with
students     the data of one student, shown and removed
"""
