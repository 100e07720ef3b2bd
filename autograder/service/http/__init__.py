"""The HTTP server of the service.

app              routes, headers, health and metrics
webhooks         turns a request of a git host into a push
pages, login     the pages for staff, and who may see them
client_address   who sent a request
rate_limit       how often a client may send requests
listener         how uvicorn listens
"""
