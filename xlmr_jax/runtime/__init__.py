"""The machine: its mesh, hosts, chips, files and command line.

sharding.py is the only file that names the axes of a mesh; commands.py says
how every command starts and ends.
"""
