"""Compare: two to four networks on one picture and on many, and the report of it."""
