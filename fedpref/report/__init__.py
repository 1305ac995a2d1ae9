"""A run folder turned into something people and programs can read.

``write.write(run)`` writes ``report.html``, ``report.json`` and ``statement.json`` from
the files of the run folder alone; ``run.read`` and ``compare.compare`` give the numbers
back. Nothing is imported here: reading a ledger needs neither pydantic nor templates.
"""
