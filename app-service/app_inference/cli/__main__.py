"""`python -m app_inference.cli`."""

from app_inference.cli.app import main

main()
