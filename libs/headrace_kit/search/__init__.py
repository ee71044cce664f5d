"""Searching: the text of a filter or an order → a tree → SQL.

    filter     = either
    either     = all { OR all }
    all        = one { AND one }
    one        = NOT one | "(" either ")" | comparison
    comparison = field ( "=" | "!=" | ">" | ">=" | "<" | "<=" ) value
               | field ( LIKE | ILIKE ) text
               | field [ NOT ] IN "(" text { "," text } ")"
               | field IS [ NOT ] NULL
    field      = [ prefix "." ] key
    order      = field [ ASC | DESC ]

Prefixes are metrics, params, tags, attributes, datasets and their synonyms; without one a field is an attribute. A key
stands bare where it is made of letters, digits, "_", ".", "-", "/" and ":", else in backticks or double quotes. Text
stands in single or double quotes. A quote inside quotes is doubled. Words are the same in any case, keys are not.

A comparison with what a row does not have is false, `!=` and NOT IN too; NOT of it is true. A metric that is NaN
matches `!=` and IS NOT NULL alone. In LIKE, "%" is any text and "_" any character; nothing escapes them.
"""
