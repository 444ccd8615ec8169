"""Updating models while frames flow: desired and reported state, the steps of a rollout, its gate and its journal.

See docs/explanations/model-updates.md. Pure modules: `desired`, `reported`, `samples`, `gate`, `steps`.
"""
