"""The two programs of docs/tutorials/update-a-model.md."""
