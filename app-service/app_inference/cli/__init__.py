"""`edgex-models`: models for people at a terminal. A module a group of commands; `app` lists them.

Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 a service does not answer.
"""
