"""The history of executions as log lines in Amazon CloudWatch Logs, as a machine's
``loggingConfiguration`` asks for it.

`configuration` is what a machine asks for, `lines` what a line says, `cursors` how far each
execution's history was written, `delivery` the loop that writes it to `cloudwatch`.
"""
