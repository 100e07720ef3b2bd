"""Is a suite good? `autograder suite check` tries hundreds of wrong solutions, and the right one in hundreds of draws.

    mutant               one wrong solution: the reference with one mistake (pure data)
    python_source, python_mutants, cpp_mutants
                         text of a solution -> its mutants, by syntax tree (pure)
    cheats               text of the assignment's files -> programs that do no work (pure)
    equivalents          mutants that staff declared not wrong: equivalent.toml beside the suite
    plan                 which mutants to try, which cases each can concern, with which limits (pure)
    dependencies         text of a suite -> what each case depends on: the key of its results (pure)
    cache                results of earlier runs by that key, in the course's state folder
    run                  trials in the suite server, folders, progress (the thin, running part)
    results              rows of all trials, and questions to them
    promises, messages   sentences of docstrings; suspicious messages of cases (pure)
    assemble             results -> findings (pure)
    findings             what is known, and what to do next (pure); its JSON is the machine-readable report
    terminal, html       findings -> text (pure)

What flows: the reference's files -> `Mutant`s -> `Trial`s (`autograder.grading.trial`) -> `TrialCase` rows -> cells
(mutant x case) -> `Findings` -> terminal, JSON, HTML. A mutant is graded as any submission is: a folder, behind the
wall, in processes of its own, so that nothing of its mistake reaches another.
"""
