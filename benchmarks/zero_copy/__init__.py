"""What each way of moving bytes costs: the evidence behind docs/zero-copy.md.

    movers      the ways themselves, each a short function: the file to read
    cases       which ways are measured, with what sizes
    parts       one process of a turn: what moves, what feeds it, what takes it in
    turns       one turn: the processes, what they took, and whether it can be trusted
    page        what docs/zero-copy.md shows of the results: the table
    chart       the chart

Nothing here knows a server. The scenario is `benchmarks.scenarios.zero_copy`.
"""
