"""Mixing: how many tokens every training phase reads of which documents, and in which order.

    config.py      the recipe's `[mix]`: phases, budgets, weights
    apportion.py   a total divided exactly, by weights and under caps
    phases.py      documents in groups that a phase treats alike, each with a target to the token
    order.py       targets to documents in training order
    account.py     the plan beside what the written shards hold, counted again
    estimate.py    the plan before a build, from a sample of the sources

Everything is a function of the documents' lengths, the recipe and the seed, so neither the number of workers nor an
interruption can change it.
"""
