"""The HTTP edge of the service.

app              routes, headers, health
webhooks         requests of git hosts -> pushes
pages, login     what staff see
client_address   who is asking, for rate limits
listener         how uvicorn listens
"""
