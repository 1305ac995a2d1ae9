"""Flower ``ClientApp`` entry point: it carries bytes and learns nothing.

Flower ships this file from the server to the devices, so it must not matter what it
says: records, keys and limits live behind the endpoint that the device itself names.
"""

from fedpref.transport.flower.courier import courier_app

app = courier_app()
