"""The HTTP edge of the service.

app              routes, headers, health and metrics
webhooks         a request of a git host -> a push
pages, login     what staff see, and who may see it
client_address   who sent a request
rate_limit       how often a client may send one
listener         how uvicorn listens
"""
