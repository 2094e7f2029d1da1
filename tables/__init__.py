"""The tables: what each agent remembers, one file per table, one writer each."""
