"""Typed async client of a node's local API."""

from app.client.client import Client
from app.client.errors import ClientError
from app.client.runtime import Runtime, find_node

__all__ = ["Client", "ClientError", "Runtime", "find_node"]
