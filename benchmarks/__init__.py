"""What the services cost on this machine, each figure beside a reference measured in the same run: `make bench`."""
