"""The wall of containers.

wall     takes one container for each submission from a pool
pool     the process that keeps a few containers warm
engine   the command lines for a container engine
"""
