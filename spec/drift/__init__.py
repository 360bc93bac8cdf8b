"""Where our description of Ollama's API and Ollama part ways.

`python spec/drift FILE` compares `spec/ollama.yaml` with an OpenAPI file of Ollama's,
`python spec/drift --server URL` with a running server. Differences that were looked at before
stand in `spec/known-differences.yaml`, each with its reason.

    document.py    reads an OpenAPI file and finds its way through `$ref`
    shapes.py      reduces a schema to what can be compared: types, fields, enums
    difference.py  one difference, with a name that stays the same
    compare.py     two documents -> differences
    check.py       a JSON value and a schema -> problems
    server.py      a running server and a document -> differences
    probe.py       the only module that knows the HTTP stack
    known.py       which differences are known, new or gone
    report.py      the result as text and as JSON
    cli.py         arguments and exit codes
"""
