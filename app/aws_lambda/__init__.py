"""The entry points on AWS Lambda; `template.yaml` has their names, rights and routes.

| module | called by | what it does |
|---|---|---|
| `click` | API Gateway, public | the decision page |
| `api` | API Gateway, for IAM callers | the JSON API: FastAPI behind an adapter |
| `respond` | API Gateway, public | links of the sfn-callback-urls API |
| `signoff` | state machines, directly | a mint, or a plain mail |
| `sweep` | a schedule, every minute | owed answers, owed mails, expiry, digests |

`click` is a package of its own, without a framework, boto3, Jinja2 or pydantic: people wait for its
cold start. The others share one.
"""
