"""Long context: which long documents teach a model to use what came long before.

    config.py           the recipe's `[long_context]`: what is long, who scores, the bounds per source
    statistics.py       filters on words: connectives, numbers
    predictability.py   the perplexity filter: does a segment make the next one more predictable?
    select.py           the stage: measure the long documents; decide from the measurements

A long document that is not chosen stays in the corpus: only budgets for `length = "long"` leave it out.
"""
