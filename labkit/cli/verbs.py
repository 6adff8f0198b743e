"""The verbs of the command line: where the function of each is and what it does."""

VERBS = {  # verb: (function, in the package or in tools/ of a checkout; what it does)
    "lab": ("cli.jupyterlab:lab", "open your own copy of a lesson in JupyterLab"),
    "chapter": ("cli.chapter:verb", "run the lessons headless; write executed notebooks, a report and results"),
    "test": ("tools/run_tests:verb", "run the tests; --all adds browser, Colab-like environment and faults"),
    "train": ("cli.runs:train", "train one run, record it, give the verdict and the adapter"),
    "resume": ("cli.runs:resume", "go on with a run that was stopped or interrupted, or with a finished one past its "
                                  "end"),
    "sweep": ("cli.sweep:verb", "train a grid of runs side by side, or runs that a sampler draws"),
    "find": ("cli.find:verb", "find the learning rate in few updates: a race that losing and broken runs leave"),
    "runs": ("cli.listing:runs", "list the recorded runs"),
    "diagnose": ("cli.diagnose:diagnose", "give verdicts on recorded runs or on other trainers' logs, with their "
                                          "evidence"),
    "judge": ("cli.judge:verb", "say which of several adapter files to keep, and how sure that is"),
    "report": ("cli.own_report:verb", "write a page of your own runs: curves, pictures, verdicts, a table"),
    "generate": ("cli.generate:verb", "draw pictures with a run's adapter and save them"),
    "name": ("cli.name:verb", "call a run by a name that every verb takes"),
    "delete": ("cli.delete:verb", "remove runs from the store, after saying what depends on them"),
    "export": ("cli.export:export", "write a run's adapter to a file other programs load"),
    "merge": ("cli.merge:merge", "write a base with an adapter merged into its weights, as a folder for diffusers"),
    "checkup": ("cli.checkup:verb", "say what this machine has and lacks, or what is wrong with a design, a base or a "
                                    "folder of pictures, with the remedy"),
    "inspect": ("cli.inspect:verb", "say what a folder of pictures, an adapter or a log of any trainer, a base or "
                                    "a run is, and what is odd about it"),
    "translate": ("cli.translate:verb", "write another trainer's settings as a design, or a design as theirs, and say "
                                        "what does not come along"),
    "student": ("cli.student:verb", "write copies of the lessons without their solutions, for a class or one student"),
    "submit": ("cli.submit:verb", "pack your notebooks and the records of your runs into one file to hand in"),
    "collect": ("cli.collect:verb", "read what a class handed in: a table, a page and a figure; nothing is executed"),
    "publish": ("tools/publish:verb", "execute the notebooks and write them back clean, badges and set-up cells "
                                      "included"),
    "bench": ("tools/bench:verb", "measure speed against a plain diffusers + PEFT loop"),
}
# What sets where a verb writes, if not --store does, and the verbs that read or write runs.
PLACES = {"chapter": "--out DIR", "bench": "--out FILE", "export": "--to FILE", "merge": "--to FOLDER",
          "judge": "--to FILE", "student": "--to FOLDER", "submit": "--to FILE", "collect": "--to FOLDER",
          "translate": "--out FILE", "find": "--to FILE", "report": "--to FILE", "generate": "--to FILE"}
STORED = ("lab", "chapter", "train", "resume", "sweep", "find", "runs", "diagnose", "inspect", "report", "generate",
          "name", "delete", "export", "merge", "submit")
