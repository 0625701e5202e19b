"""The `perdure` command: one module a subcommand, each with `configure(parser)` and `run(arguments)`.

Commands read the journal and never unpickle anything, so they need neither the user's code nor trust in it.
"""
