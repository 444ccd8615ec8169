"""The device side of a service: what EdgeX asks of whoever owns devices, whatever the devices are.

A service brings a `Driver` that reads and writes one resource of one device; everything around it is here.
"""
