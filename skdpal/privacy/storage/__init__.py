"""How it is remembered: a database in which nothing changes, the public journal, the hospital-only vault."""
