"""The device side of a service: what EdgeX asks of an owner of devices, whatever the devices are.

A service brings a `Driver` that reads and writes one resource of one device. May import everything else of the kit.
"""
