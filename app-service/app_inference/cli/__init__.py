"""`edgex-models`: models at a terminal. One module for each group of commands; `app` lists them.

Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 a service does not answer.
"""
