"""Client processes of the bench, and servers that stand for a raw limit. Those of peers import nothing of Headrace."""
