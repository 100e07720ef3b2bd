"""Containers as the wall.

wall     takes one container for each submission out of a pool
pool     the process that keeps a few warmed containers
engine   the command lines of a container engine
"""
