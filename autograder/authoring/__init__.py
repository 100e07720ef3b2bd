"""Makes new courses and new assignments that work as they are: `autograder init` and `autograder new`.

kinds      what kinds of assignments there are, with their cases
scaffold   templates -> the files of a course or an assignment, and its tables in autograder.toml

`templates/` has a folder for the course, one for what every assignment has, and one for each kind. In a template,
`@name@` is a placeholder. The suffix `.in` is removed, and `dot-` becomes `.`.
"""
