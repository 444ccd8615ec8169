"""What a model's producer says of it, in the model or in files beside it. Pure."""
