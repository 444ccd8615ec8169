"""Updating models while frames flow: desired and reported state, the steps of a rollout, its gate and its journal.

The story is told in docs/explanations/model-updates.md. Pure rooms: `desired`, `reported`, `samples`, `gate`, `steps`.
"""
