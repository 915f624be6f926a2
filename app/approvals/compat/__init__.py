"""The sfn-callback-urls API, mapped onto approvals."""
