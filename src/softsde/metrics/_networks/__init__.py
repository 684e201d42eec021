"""Networks whose features the literature measures with, built from published weights.

A network is written once, as its constructor: each layer takes its arrays by the names
of the published file. What is missing, left over or misshapen is named together.
"""
