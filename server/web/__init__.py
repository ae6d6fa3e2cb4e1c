"""The web edge: pages for patients and professionals, the FHIR capability statement, health; HTTPS only."""
