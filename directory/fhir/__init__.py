"""The directory in FHIR R4 (4.0.1), as the national directory publishes it: a request in, an answer out, no socket.

`server` brings the request and takes the answer; `answering.py` leads, `search.py` asks the database.
"""
