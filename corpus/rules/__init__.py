"""Rules: bounds on measurements, which decide what is kept without reading a text.

A rule set is a table of bounds, each named after the column of `measurements/*.parquet` that it looks at
(`rule_set.py`). Every set says on which documents it holds. `config.py` lists all of them in the order in which they
are tried; `apply.py` applies them to a measurement table.

A new set is a subclass of `RuleSet` beside the code that measures, and one field of `RulesConfig`:

    class Safety(RuleSet):
        '''What its bounds are and where they come from.'''

        documents = Documents(kinds={"text"})  # default: every document
        optional = True                        # holds where its columns were measured
        blocked_words: Bounds = at_most(0.01)  # a column of the measurement table
"""
